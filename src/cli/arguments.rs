//! The command line: its commands, and settings from flags, variables and a file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use url::Url;

use super::{apps, data, doctor, env_file, keys, mail, users};
use crate::config::Config;
use crate::secret;

/// Accounts for a site: users sign up, log in, keep a profile, and reset their password by email.
///
/// Without settings it serves on http://localhost:3000 and keeps everything in the folder data.
#[derive(Parser)]
#[command(name = "latchkey", version, after_help = SETTINGS_ARE_IN)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    /// A file with settings, one per line as in .env.example: LATCHKEY_PUBLIC_URL=https://accounts.example.com. Flags and
    /// environment variables win over it.
    #[arg(long, value_name = "FILE", global = true)]
    env_file: Option<PathBuf>,

    #[command(flatten)]
    pub(super) config: Config,
}

/// The foot of the help.
const SETTINGS_ARE_IN: &str = "Each setting is a flag or an environment variable, for every command; the flag wins. \
                               `latchkey serve --help` lists them.";

impl Cli {
    /// Returns whether the program will serve the site.
    pub(super) fn serves(&self) -> bool {
        matches!(self.command, None | Some(Command::Serve))
    }
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Serve the site until SIGTERM or Ctrl-C (what happens without a command).
    Serve,
    /// Bring the database's tables up to date, and stop. Serve does so at every start.
    Migrate,
    /// Look at this installation from inside and from outside, and say what to do.
    Doctor(doctor::Options),
    /// Ask the server at LISTEN whether it is alive (for the health check of a container).
    Healthcheck,
    /// Write everything in the database into one file, also while a server runs. The secret is not in it.
    Backup {
        /// The file to write, such as latchkey-backup.db. One that exists is refused.
        file: PathBuf,
    },
    /// Put a backup back, while no server runs. The database must not exist, or must be empty.
    Restore(data::Restore),
    /// Copy everything into another kind of database, such as from SQLite to PostgreSQL, while no server runs.
    Move(data::Move),
    /// Send one email and say what the mail server answered.
    MailTest {
        /// Where to.
        address: String,
    },
    /// Look at the emails in the outbox; have them sent again, or take them out.
    #[command(subcommand)]
    Mail(mail::MailCommand),
    /// Change the secret without logging users out.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Register the applications that log their users in here; look at them, change and remove them.
    #[command(subcommand)]
    App(apps::AppCommand),
    /// Create, look at, disable and delete users; help them back in.
    #[command(subcommand)]
    User(users::UserCommand),
}

/// Parses flags and environment. The help is printed in full. A mistake is printed as one line that names the setting.
///
/// # Errors
/// The code to exit with, after the help or the line was printed.
pub(super) fn parse() -> Result<Cli, ExitCode> {
    let refuse = |why: String| {
        say_why(why);
        ExitCode::from(2)
    };
    let from_file = settings_of_file().map_err(refuse)?;
    let line = || with_defaults(command(), &from_file);
    let matches = without_empty(line()).try_get_matches().map_err(|error| match error.kind() {
        // The help has the names of all variables, also of the empty ones.
        ErrorKind::DisplayHelp => line().try_get_matches().err().unwrap_or(error),
        _ => error,
    });
    let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches)).map_err(|error| {
        if matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
            return refuse(refused_value(&error));
        }
        let _ = error.print(); // where nothing can be printed, the exit code still says it
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })?;
    // This comes after the parser, because the line points to the help, which must open although a name is wrong.
    if let Some(name) = unknown_setting() {
        return Err(refuse(format!("{name} is not a setting; `latchkey serve --help` lists them all")));
    }
    Ok(cli)
}

/// Reads the file of `--env-file`, if there is one.
fn settings_of_file() -> Result<HashMap<String, String>, String> {
    // This comes before the command line is parsed, because the file's values are part of it. The parser refuses the rest.
    let lenient = without_empty(command()).ignore_errors(true).try_get_matches();
    let file = lenient.ok().and_then(|matches| matches.get_one::<PathBuf>("env_file").cloned());
    let command = Cli::command();
    let is_setting = |name: &str| command.get_arguments().any(|arg| arg.get_env().is_some_and(|env| env == name));
    let Some(file) = file else { return Ok(HashMap::new()) };
    let values = env_file::read(&file, is_setting)?;
    // The URL of a database or a mail server is a secret only if it has a password.
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

/// Makes these values of settings the defaults, which variables and flags override. It does not set the variables, because
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

/// Returns the definition of the command line. Every command takes the settings of the server as flags, but only the help of
/// `serve` shows them.
pub fn command() -> clap::Command {
    let settings = |arg: Arg| if arg.get_env().is_some() { arg.hide(true) } else { arg };
    // The arguments of `serve` itself are shown, and global ones do not replace them.
    let shown = Config::augment_args(clap::Command::new("")).get_arguments().cloned().collect::<Vec<_>>();
    Cli::command().mut_args(settings).mut_subcommand("serve", |serve| serve.args(shown))
}

/// Makes an empty variable the same as none, as in the lines `LATCHKEY_TLS_CERT=` of `.env.example`.
fn without_empty(command: clap::Command) -> clap::Command {
    let unless_empty = |arg: Arg| match arg.get_env().and_then(std::env::var_os) {
        Some(value) if value.is_empty() => arg.env(Resettable::Reset),
        _ => arg,
    };
    command.mut_args(unless_empty).mut_subcommand("serve", |serve| serve.mut_args(unless_empty))
}

/// Returns a variable that looks like a setting and is none. The server would use the default where an operator misspelt a
/// name.
fn unknown_setting() -> Option<String> {
    let command = Cli::command();
    let known: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_env()).collect();
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("LATCHKEY_"));
    ours.into_iter().find(|name| !known.contains(&name.as_os_str())).map(|name| name.to_string_lossy().into_owned())
}

/// Returns the line for a value that was refused, such as `LATCHKEY_PUBLIC_URL (--public-url): …`. It does not repeat a value
/// that may be a secret.
fn refused_value(error: &clap::Error) -> String {
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

/// Prints why the program ends, on standard error.
pub(super) fn say_why(why: impl AsRef<str>) {
    let _ = writeln!(io::stderr(), "latchkey: {}", why.as_ref()); // standard error may be closed; the exit code still says it
}
