//! The command line: serve, and what an operator does once.

use std::io::{self, IsTerminal, Write};
use std::panic;
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use sea_orm::ActiveEnum;
use tracing::{Level, enabled, error, field, warn};
use tracing_subscriber::EnvFilter;

use crate::accounts::email::Email;
use crate::accounts::event::Kind;
use crate::accounts::user::User;
use crate::accounts::{operator, session, user};
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, LogFormat};
use crate::db::Db;
use crate::keys::{Keys, Use};
use crate::locale::Locale;
use crate::look::Look;
use crate::mail::Mailer;
use crate::mail::letters::{MailTest, Site};
use crate::secret::Secret;
use crate::{chance, server, urls, visit_store};

/// Accounts for a site: people sign up, log in, keep a profile, and get back in by mail.
///
/// Without settings it serves on http://localhost:3000 and keeps everything in the folder data.
#[derive(Parser)]
#[command(name = "latchkey", version, after_help = SETTINGS_ARE_IN)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

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
    /// Send one letter and say what the mail server answered.
    MailTest {
        /// Where to.
        address: String,
    },
    /// Change the secret without logging anybody out.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Look at users, help them back in, delete them.
    #[command(subcommand)]
    User(UserCommand),
}

#[derive(Subcommand)]
enum KeysCommand {
    /// List what the secrets are called in cookies (kid), newest first; never a secret itself.
    List,
    /// Put a fresh secret first in the secret file. It signs; those after it still verify.
    Rotate,
    /// Drop all secrets but the newest; whoever is logged in by an older one has to log in again.
    Drop {
        /// How many to keep.
        #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..))]
        keep: u8,
    },
}

#[derive(Subcommand)]
enum UserCommand {
    /// List all users: username, e-mail address, since when.
    List,
    /// Show one user.
    Show {
        /// An e-mail address or a username.
        login: String,
    },
    /// Print a link that lets the user choose a new password; it works for an hour, once.
    ResetLink {
        /// An e-mail address or a username.
        login: String,
    },
    /// Delete a user with all sessions and links. Asks first when a person is there to answer.
    Delete {
        /// An e-mail address or a username.
        login: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
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
    let matches = without_empty(command()).try_get_matches().map_err(|error| match error.kind() {
        // With the names of all variables, those of the empty ones too.
        ErrorKind::DisplayHelp => command().try_get_matches().err().unwrap_or(error),
        _ => error,
    });
    let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches)).map_err(|error| {
        if matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
            say_why(named(&error));
            return ExitCode::from(2);
        }
        let _nobody_reads = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })?;
    // After the parser, which ends with the help where that is asked for: this line points there.
    if let Some(name) = unknown_setting() {
        say_why(format!("{name} is not a setting; `latchkey serve --help` lists them all"));
        return Err(ExitCode::from(2));
    }
    Ok(cli)
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
    let value = if secret { "its value".to_owned() } else { format!("{:?}", text(ContextKind::InvalidValue)) };
    let why = match (std::error::Error::source(error), error.get(ContextKind::ValidValue)) {
        (Some(why), _) => why.to_string(),
        (None, Some(ContextValue::Strings(values))) if !values.is_empty() => {
            format!("must be one of {}", values.join(", "))
        }
        _ => "is not a value it takes".to_owned(),
    };
    format!("{setting} ({flag}): {value} {why}")
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    start_log(&cli.config)?;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => server::serve(cli.config).await,
        Command::Migrate => {
            App::open(cli.config).await?;
            out("The tables are up to date.")
        }
        Command::MailTest { address } => mail_test(cli.config, &address).await,
        Command::Keys(command) => on_keys(&cli.config, &command).await,
        Command::User(command) => on_users(cli.config, command).await,
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

async fn mail_test(config: Config, address: &str) -> anyhow::Result<()> {
    let Ok(email) = Email::parse(address) else { anyhow::bail!("{address} is not an e-mail address") };
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
        (Ok(answer), None) => out(format!("The mail server took the letter to {address}: {answer}")),
        (Ok(_), Some(dir)) => out(format!("LATCHKEY_SMTP_URL is not set: the letter is kept in {}.", dir.display())),
        (Err(refused), _) => anyhow::bail!("the letter did not go out: {refused}"),
    }
}

async fn on_keys(config: &Config, command: &KeysCommand) -> anyhow::Result<()> {
    config.check().map_err(anyhow::Error::msg)?;
    let file = match (config.secret(), command) {
        (Err(file), _) => file,
        (Ok(secret), KeysCommand::List) => return list_keys(&secret),
        (Ok(_), _) => anyhow::bail!(
            "LATCHKEY_SECRET is yours to change: put a fresh one (openssl rand -base64 32) and a comma before what it is now, or take old ones off its end, and restart"
        ),
    };
    let name = file.display();
    let named = || format!("LATCHKEY_SECRET_FILE: {name}");
    match *command {
        KeysCommand::List => list_keys(&Secret::load(&file).with_context(named)?),
        KeysCommand::Rotate => {
            let older = Secret::rotate(&file).with_context(named)?.iter().len() - 1;
            note_keys(config, Kind::KeysRotated).await;
            out(format!("A fresh secret stands first in {name}; those after it still verify: {older}."))?;
            // A cookie is renewed by the newest key when it is used, and expires when it is not for this long.
            let days = config.remember_idle_days;
            out(format!("Restart each server that reads it. {days} days later run: latchkey keys drop"))
        }
        KeysCommand::Drop { keep } => {
            let kept = Secret::keep(&file, keep.into()).with_context(named)?.iter().len();
            note_keys(config, Kind::KeysDropped).await;
            out(format!("Secrets left in {name}: {kept}. Restart each server that reads it."))
        }
    }
}

/// Notes a change of the secret, which is done by now: after a leak it must not wait for a database that is out of reach.
async fn note_keys(config: &Config, kind: Kind) {
    let noted = async {
        let db = Db::open(&config.database_url()).await?;
        db.migrate().await?;
        operator::note_keys(&db, kind, Clock::default().now()).await
    };
    if let Err(why) = noted.await {
        warn!(event = kind.to_value(), "the secret is changed, but its event could not be written: {why}");
    }
}

fn list_keys(secret: &Secret) -> anyhow::Result<()> {
    for (place, id) in Keys::new(secret, Use::SESSION_COOKIE, "").ids().enumerate() {
        out(format!("{id}  {}", if place == 0 { "signs and verifies" } else { "verifies" }))?;
    }
    Ok(())
}

async fn on_users(config: Config, command: UserCommand) -> anyhow::Result<()> {
    let app = App::open(config).await?;
    match command {
        UserCommand::List => {
            for user in user::all(app.db.read()).await? {
                out(format!("{:<32}  {:<40}  {}", user.username, user.email, Locale::En.moment(&user.created_at)))?;
            }
            Ok(())
        }
        UserCommand::Show { login } => {
            let user = find(&app, &login).await?;
            let sessions = session::count(app.db.read(), user.id, app.now()).await?;
            out(format!(
                "Username:      {}\nEmail address: {}\nFull name:     {}\nMember since:  {}\nLogged in on:  {sessions} devices\nId:            {}",
                user.username,
                user.email,
                user.full_name,
                Locale::En.moment(&user.created_at),
                user.id
            ))
        }
        UserCommand::ResetLink { login } => {
            let user = find(&app, &login).await?;
            let Some(token) = operator::reset_link(&app.accounts, &user, app.now()).await? else {
                anyhow::bail!("{login} was deleted a moment ago");
            };
            out(app.public_url.with_token(urls::RESET_PASSWORD, &token.reveal()))
        }
        UserCommand::Delete { login, yes } => {
            let user = find(&app, &login).await?;
            if !yes && io::stdin().is_terminal() && !confirmed(&user)? {
                return out("Nothing was deleted.");
            }
            // First, for once the user is gone nobody could run this again.
            visit_store::forget(&app.db, &user.email_canonical).await?;
            operator::delete(&app.db, &user, app.now()).await?;
            out(format!("Deleted {} ({}).", user.username, user.email))
        }
    }
}

async fn find(app: &App, login: &str) -> anyhow::Result<User> {
    let found = user::by_login(app.db.read(), login).await?;
    found.ok_or_else(|| anyhow::anyhow!("there is no user {login}; `latchkey user list` lists them all"))
}

fn confirmed(user: &User) -> anyhow::Result<bool> {
    write!(io::stdout(), "Delete {} ({}) with all sessions? [y/N] ", user.username, user.email)?;
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
