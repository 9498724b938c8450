//! The command line: it serves, or does once what an operator asks for.

mod apps;
mod arguments;
mod data;
mod doctor;
mod env_file;
mod keys;
mod listing;
mod mail;
mod mail_test;
mod open;
mod proxy;
mod users;

use std::io::{self, IsTerminal};
use std::panic;
use std::process::ExitCode;

use anyhow::Context;
use tracing::{Level, enabled, error, field};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, format};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::app::App;
use crate::config::{Config, LogFormat, Settings};
use crate::server;
pub use arguments::command;
use arguments::{Cli, Command, say_why};
use listing::out;

/// Does what the command line says.
pub fn main() -> ExitCode {
    // Only our own user may read the files that the program makes, such as the database and kept emails.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let cli = match arguments::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let for_machines = cli.serves() && cli.config.log_format == LogFormat::Json;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(cli)));
    match done {
        Ok(()) => return ExitCode::SUCCESS,
        // The reason for the end is printed even if the log is off.
        Err(error) if for_machines && enabled!(Level::ERROR) => error!("{error:#}"),
        Err(error) => say_why(format!("{error:#}")),
    }
    ExitCode::FAILURE
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    start_log(&cli.config)?;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => server::serve(cli.config).await,
        Command::Migrate => {
            App::open(Settings::parse(cli.config)?).await?.db.close().await?;
            out("The tables are up to date.")
        }
        Command::Doctor(options) => doctor::run(cli.config, &options).await,
        Command::Healthcheck => doctor::healthcheck(cli.config).await,
        Command::Backup { file } => data::back_up(&cli.config, &file).await,
        Command::Restore(restore) => data::restore(&cli.config, &restore).await,
        Command::Move(from_to) => data::move_to(&cli.config, &from_to).await,
        Command::MailTest { address } => mail_test::run(cli.config, &address).await,
        Command::Mail(command) => mail::run(&cli.config, command).await,
        Command::Keys(command) => keys::run(&cli.config, &command).await,
        Command::App(command) => apps::run(cli.config, command).await,
        Command::User(command) => users::run(cli.config, command).await,
    }
}

/// Starts the log.
fn start_log(config: &Config) -> anyhow::Result<()> {
    // The database's libraries trace URLs with passwords in them, a migration logs at every start, and tower-sessions makes
    // one span per page. tower-sessions also warns of every cookie that has expired or is malformed, and h2 of connections
    // that break its limits. Any client can cause any number of these lines.
    let quiet = "sea_orm=warn,sea_orm_migration=warn,sqlx=warn,tower_sessions=error,tower_sessions_core=error,h2=error";
    let filter: Targets = format!("{quiet},{}", config.log).parse().context("LATCHKEY_LOG")?;
    let log = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(io::stderr).log_internal_errors(false);
    match config.log_format {
        LogFormat::Text => {
            // Each request writes its span's fields. The library's own formatter takes twice as long for the same text.
            let fields = format::debug_fn(|to, field, value| match field.name() {
                "message" => write!(to, "{value:?}"),
                name if to.has_ansi_escapes() => write!(to, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{value:?}"),
                name => write!(to, "{name}={value:?}"),
            });
            log.with(lines.with_ansi(io::stderr().is_terminal()).fmt_fields(fields.delimited(" "))).init();
        }
        LogFormat::Json => {
            // The current span is the last one in the list of all spans.
            log.with(lines.json().flatten_event(true).with_current_span(false)).init();
            panic::set_hook(Box::new(|panic| {
                let (place, why) = (panic.location().map(field::display), panic.payload_as_str());
                error!(place, why, "panicked");
            }));
        }
    }
    Ok(())
}
