//! The command line: serve, and what an operator does once.

mod env_file;
mod keys;
mod listing;
mod users;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::panic;
use std::path::{self, Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing::{Level, enabled, error, field};
use tracing_subscriber::EnvFilter;
use url::Url;

use crate::accounts::user::email::Email;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, LogFormat};
use crate::db::{self, Db};
use crate::look::Look;
use crate::mail::Mailer;
use crate::mail::letters::{MailTest, Site};
use crate::{chance, secret, server};

/// Accounts for a site: people sign up, log in, keep a profile, and get back in by mail.
///
/// Without settings it serves on http://localhost:3000 and keeps everything in the folder data.
#[derive(Parser)]
#[command(name = "latchkey", version, after_help = SETTINGS_ARE_IN)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    /// A file with settings, a line each as in .env.example: LATCHKEY_PUBLIC_URL=https://accounts.example.com. Flags and
    /// environment variables win over it.
    #[arg(long, value_name = "FILE", global = true)]
    env_file: Option<PathBuf>,

    #[command(flatten)]
    config: Config,
}

/// The foot of the help.
const SETTINGS_ARE_IN: &str = "Each setting is a flag or an environment variable, for every command; the flag wins. \
                               `latchkey serve --help` lists them.";

impl Cli {
    fn serves(&self) -> bool {
        matches!(self.command, None | Some(Command::Serve))
    }
}

#[derive(Subcommand)]
enum Command {
    /// Serve the site until SIGTERM or Ctrl-C (what happens without a command).
    Serve,
    /// Bring the database's tables up to date, and stop. Serve does so at every start.
    Migrate,
    /// Send one email and say what the mail server answered.
    MailTest {
        /// Where to.
        address: String,
    },
    /// Change the secret without logging anybody out.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Create, look at, disable and delete users; help them back in.
    #[command(subcommand)]
    User(users::Command),
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    // Whatever we make, the database and kept letters included, is for our own user only.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let cli = match parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let for_machines = cli.serves() && cli.config.log_format == LogFormat::Json;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(cli)));
    match done {
        Ok(()) => return ExitCode::SUCCESS,
        // Whatever is logged otherwise, why it ended is said.
        Err(error) if for_machines && enabled!(Level::ERROR) => error!("{error:#}"),
        Err(error) => say_why(format!("{error:#}")),
    }
    ExitCode::FAILURE
}

fn say_why(why: impl AsRef<str>) {
    let _nobody_reads = writeln!(io::stderr(), "latchkey: {}", why.as_ref());
}

/// Parses flags and environment. Help goes out in full; anything wrong is one line that names the setting.
fn parse() -> Result<Cli, ExitCode> {
    let refuse = |why: String| {
        say_why(why);
        ExitCode::from(2)
    };
    let from_file = settings_of_file().map_err(refuse)?;
    let line = || with_defaults(command(), &from_file);
    let matches = without_empty(line()).try_get_matches().map_err(|error| match error.kind() {
        // With the names of all variables, those of the empty ones too.
        ErrorKind::DisplayHelp => line().try_get_matches().err().unwrap_or(error),
        _ => error,
    });
    let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches)).map_err(|error| {
        if matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
            return refuse(named(&error));
        }
        let _nobody_reads = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })?;
    // After the parser, which ends with the help where that is asked for: this line points there.
    if let Some(name) = unknown_setting() {
        return Err(refuse(format!("{name} is not a setting; `latchkey serve --help` lists them all")));
    }
    Ok(cli)
}

/// Reads the file of `--env-file`, if there is one.
fn settings_of_file() -> Result<HashMap<String, String>, String> {
    // Before the command line is parsed, because it is parsed with what the file says. What is wrong with it is said then.
    let lenient = without_empty(command()).ignore_errors(true).try_get_matches();
    let file = lenient.ok().and_then(|matches| matches.get_one::<PathBuf>("env_file").cloned());
    let command = Cli::command();
    let is_setting = |name: &str| command.get_arguments().any(|arg| arg.get_env().is_some_and(|env| env == name));
    let Some(file) = file else { return Ok(HashMap::new()) };
    let values = env_file::read(&file, is_setting)?;
    // An address of a database or a mail server is a secret only if it has a password.
    let has_secret =
        |value: &String| Url::parse(value).map_or(true, |url| url.cannot_be_a_base() || url.password().is_some());
    let hidden = |arg: &Arg| {
        arg.get_env().filter(|_| arg.is_hide_env_values_set()).map(|name| name.to_string_lossy().into_owned())
    };
    let mut secrets = command
        .get_arguments()
        .filter_map(hidden)
        .filter_map(|name| values.get(&name))
        .filter(|value| has_secret(value));
    if secrets.next().is_some() {
        let closed = File::open(&file).and_then(|open| secret::refuse_open(&open, &file));
        closed.map_err(|why| format!("--env-file: {} holds a secret, and {why}", file.display()))?;
    }
    Ok(values)
}

/// Makes these values of settings the defaults, over which variables and flags win. The variables themselves are not set:
/// that is unsafe where other threads may read them.
fn with_defaults(command: clap::Command, values: &HashMap<String, String>) -> clap::Command {
    let default = |arg: Arg| {
        let name = arg.get_env().map(|name| name.to_string_lossy().into_owned());
        match name.and_then(|name| values.get(&name)) {
            Some(value) => {
                let secret = arg.is_hide_env_values_set();
                arg.default_value(value.clone()).hide_default_value(secret)
            }
            None => arg,
        }
    };
    command.mut_args(default).mut_subcommand("serve", |serve| serve.mut_args(default))
}

/// The command line. Every command takes the settings of the server as flags, but only the help of `serve` shows them.
fn command() -> clap::Command {
    let settings = |arg: Arg| if arg.get_env().is_some() { arg.hide(true) } else { arg };
    // What `serve` has of its own is not replaced by what is global.
    let shown = Config::augment_args(clap::Command::new("")).get_arguments().cloned().collect::<Vec<_>>();
    Cli::command().mut_args(settings).mut_subcommand("serve", |serve| serve.args(shown))
}

/// An empty variable is the same as none, as in the lines `LATCHKEY_TLS_CERT=` of `.env.example`.
fn without_empty(command: clap::Command) -> clap::Command {
    let unless_empty = |arg: Arg| match arg.get_env().and_then(std::env::var_os) {
        Some(value) if value.is_empty() => arg.env(Resettable::Reset),
        _ => arg,
    };
    command.mut_args(unless_empty).mut_subcommand("serve", |serve| serve.mut_args(unless_empty))
}

/// A misspelt setting would be a default that nobody chose.
fn unknown_setting() -> Option<String> {
    let command = Cli::command();
    let known: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_env()).collect();
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("LATCHKEY_"));
    ours.into_iter().find(|name| !known.contains(&name.as_os_str())).map(|name| name.to_string_lossy().into_owned())
}

/// `LATCHKEY_PUBLIC_URL (--public-url): …` for a value that will not do. The value itself is not repeated
/// when it may be a secret.
fn named(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let argument = text(ContextKind::InvalidArg);
    let flag = argument.split([' ', '[']).next().unwrap_or_default();
    let command = Cli::command();
    let secret = command
        .get_arguments()
        .any(|arg| arg.is_hide_env_values_set() && Some(flag.trim_start_matches("--")) == arg.get_long());
    let setting = format!("LATCHKEY_{}", flag.trim_start_matches("--").replace('-', "_").to_uppercase());
    let is_setting = command.get_arguments().any(|arg| arg.get_env().is_some_and(|env| *env == *setting));
    let name = match flag {
        "" => argument.trim_matches(['[', ']', '<', '>']).to_owned(),
        flag if is_setting => format!("{setting} ({flag})"),
        flag => flag.to_owned(),
    };
    let value = if secret { "its value".to_owned() } else { format!("{:?}", text(ContextKind::InvalidValue)) };
    let why = match (std::error::Error::source(error), error.get(ContextKind::ValidValue)) {
        (Some(why), _) => why.to_string(),
        (None, Some(ContextValue::Strings(values))) if !values.is_empty() => {
            format!("must be one of {}", values.join(", "))
        }
        _ => "is not a value it takes".to_owned(),
    };
    format!("{name}: {value} {why}")
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    start_log(&cli.config)?;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => server::serve(cli.config).await,
        Command::Migrate => {
            App::open(cli.config).await?.db.close().await?;
            out("The tables are up to date.")
        }
        Command::MailTest { address } => mail_test(cli.config, &address).await,
        Command::Keys(command) => keys::run(&cli.config, &command).await,
        Command::User(command) => users::run(cli.config, command).await,
    }
}

fn start_log(config: &Config) -> anyhow::Result<()> {
    // The database's libraries trace addresses with passwords in them, a migration talks at every start, and
    // tower-sessions makes a span a page. It also warns of every cookie that has expired or is malformed, and h2 of
    // connections that break its limits: lines that any client can cause, as many as it likes.
    let quiet = "sea_orm=warn,sea_orm_migration=warn,sqlx=warn,tower_sessions=error,tower_sessions_core=error,h2=error";
    let filter =
        EnvFilter::try_new(format!("{quiet},{}", config.log)).map_err(|why| anyhow::anyhow!("LATCHKEY_LOG: {why}"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    match config.log_format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => {
            log.json().flatten_event(true).with_current_span(false).init(); // it is the last one in the list of all
            panic::set_hook(Box::new(|panic| {
                let (place, why) = (panic.location().map(field::display), panic.payload_as_str());
                error!(place, why, "panicked");
            }));
        }
    }
    Ok(())
}

fn out(line: impl AsRef<str>) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout(), "{}", line.as_ref())?)
}

/// What to do about a command that finds nothing, which is mostly one that runs in another shell than the server.
const ELSEWHERE: &str = "run this in the server's folder, or give --data-dir, or --env-file with the server's settings";

/// Opens the server's database for a command, which makes neither a file nor a table: in a shell without the server's
/// settings it would look at an empty database of its own, and say nothing.
async fn open_db(config: &Config) -> anyhow::Result<Db> {
    config.check_database().map_err(anyhow::Error::msg)?;
    let url = config.database_url();
    let file = Db::file(&url).context("LATCHKEY_DATABASE_URL")?;
    if let Some(file) = &file {
        look_for("database", file)?;
    }
    let cannot = |what, why| anyhow::anyhow!("LATCHKEY_DATABASE_URL: cannot {what}: {}", db::why(&why));
    let db = Db::open_existing(&url).await.map_err(|why| cannot("open the database", why))?;
    if !db.is_up_to_date().await.map_err(|why| cannot("read the tables", why))? {
        let name = file.map_or_else(|| "the database".to_owned(), |file| absolute(&file));
        anyhow::bail!(
            "{name} does not have the tables of this version; start the server, which makes them, or run `latchkey migrate`"
        );
    }
    Ok(db)
}

/// Refuses to go on without a file, and says where it was looked for.
fn look_for(what: &str, file: &Path) -> anyhow::Result<()> {
    match file.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => anyhow::bail!("there is no {what} at {}; {ELSEWHERE}", absolute(file)),
        Err(why) => anyhow::bail!("cannot look at {}: {why}; run this as the server's user", absolute(file)),
    }
}

fn absolute(path: &Path) -> String {
    path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

async fn mail_test(mut config: Config, address: &str) -> anyhow::Result<()> {
    let Ok(email) = Email::parse(address) else { anyhow::bail!("{address} is not an email address") };
    if let Some(dir) = config.dev_mailbox().filter(|dir| !dir.exists()) {
        anyhow::bail!("LATCHKEY_SMTP_URL is not set, and no server keeps emails in {}; {ELSEWHERE}", absolute(&dir));
    }
    config.recall_public_url();
    config.check().map_err(anyhow::Error::msg)?;
    let public_url = config.public_url();
    let mailer = Mailer::new(&config, &public_url)?;
    let now = Clock::default().now();
    let theme = &Look::open(&config).map_err(anyhow::Error::msg)?.theme;
    let (name, home, locale) = (&config.site_name, public_url.origin(), config.language);
    let site = Site { name, home, address: email.as_str(), locale, theme };
    let letter = MailTest { at: &now }.render(site)?;
    let message = letter.message(mailer.sender(), email.sendable(), chance::id(), now);
    let message = message.map_err(|why| anyhow::anyhow!("{address}: {why}"))?;
    // A person waits for this one: what can be seen in a second is not left to the time-out.
    let sent = tokio::select! {
        sent = mailer.send(message) => sent,
        Some(refused) = mailer.mismatch() => Err(refused),
    };
    match (sent, config.dev_mailbox()) {
        (Ok(answer), None) => out(format!("The mail server took the email to {address}: {answer}")),
        (Ok(_), Some(dir)) => out(format!("LATCHKEY_SMTP_URL is not set: the email is kept in {}.", dir.display())),
        (Err(refused), _) => anyhow::bail!("the email did not go out: {refused}"),
    }
}
