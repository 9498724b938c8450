//! `latchkey doctor`: looks at an installation from inside and from outside, and says what to do.

mod database;
mod files;
mod mail;
mod proxy;
mod settings;
mod site;

use std::fmt;
use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::listing::{self, out};
use super::open::ELSEWHERE;
use crate::accounts::user::email::Email;
use crate::config::{Config, Settings};

/// How long a running server may take to answer `latchkey healthcheck`.
const HEALTH_WITHIN: Duration = Duration::from_secs(5);

/// What the doctor is asked for.
#[derive(Args)]
pub(super) struct Options {
    /// Send one email to this address too, as mail-test does. Without it the mail server is asked, and nothing is sent.
    #[arg(long, value_name = "ADDRESS")]
    mail_to: Option<String>,
    /// The port at which the site is reached by plain HTTP, which is redirected to https.
    #[arg(long, value_name = "PORT", default_value_t = 80)]
    http_port: u16,
    /// As one JSON array.
    #[arg(long)]
    json: bool,
}

/// How good the result of a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
}

/// The result of one check: a line, which says what to do where something is to be done.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    state: State,
    check: &'static str,
    says: String,
}

fn ok(check: &'static str, says: impl Into<String>) -> Finding {
    Finding { state: State::Ok, check, says: says.into() }
}

fn warn(check: &'static str, says: impl Into<String>) -> Finding {
    Finding { state: State::Warn, check, says: says.into() }
}

fn fail(check: &'static str, says: impl Into<String>) -> Finding {
    Finding { state: State::Fail, check, says: says.into() }
}

impl State {
    /// Returns the word of a line, and its colour on a terminal.
    fn word(self) -> (&'static str, u8) {
        match self {
            Self::Ok => ("ok", 32),
            Self::Warn => ("warn", 33),
            Self::Fail => ("FAIL", 31),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<4}  {:<9} {}", self.state.word().0, self.check, self.says)
    }
}

/// What the doctor has found. A line is printed as soon as it is known, because some checks wait for time-outs.
struct Report {
    findings: Vec<Finding>,
    json: bool,
    colour: bool,
}

impl Report {
    fn new(json: bool) -> Self {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { findings: Vec::new(), json, colour }
    }

    fn add(&mut self, found: impl IntoIterator<Item = Finding>) -> anyhow::Result<()> {
        for finding in found {
            let line = finding.to_string();
            let (word, colour) = finding.state.word();
            match line.strip_prefix(word) {
                _ if self.json => {}
                Some(rest) if self.colour => out(format!("\x1b[{colour}m{word}\x1b[0m{rest}"))?,
                _ => out(line)?,
            }
            self.findings.push(finding);
        }
        Ok(())
    }

    /// Ends the report.
    ///
    /// # Errors
    /// If a check has failed.
    fn end(self) -> anyhow::Result<()> {
        if self.json {
            listing::print_json(&serde_json::to_value(&self.findings)?)?;
        }
        let failed = self.findings.iter().filter(|finding| finding.state == State::Fail).count();
        anyhow::ensure!(failed == 0, "{} failed", listing::count(failed as u64, "check"));
        Ok(())
    }
}

/// Runs all checks.
///
/// # Errors
/// If one of them fails.
pub(super) async fn run(mut config: Config, options: &Options) -> anyhow::Result<()> {
    let mail_to = options.mail_to.as_deref().map(|to| Email::parse(to).map_err(|_| to)).transpose();
    let mail_to = mail_to.map_err(|to| anyhow::anyhow!("--mail-to: {to} is not an email address"))?;
    let mut report = Report::new(options.json);
    config.recall_public_url();
    let settings = match Settings::parse(config) {
        Ok(settings) => settings,
        Err(why) => {
            report.add([fail("settings", format!("{why:#}; {ELSEWHERE}"))])?;
            return report.end();
        }
    };
    report.add(settings::check(&settings))?;
    let (found, secret) = files::check(&settings);
    report.add(found)?;
    report.add(database::check(&settings, secret.as_ref()).await)?;
    report.add(mail::check(&settings, mail_to.as_ref()).await)?;
    report.add(site::check(&settings, secret.as_ref(), options.http_port).await)?;
    report.end()
}

/// Asks the server at LISTEN whether it is alive, for the health check of a container.
///
/// # Errors
/// If it does not say so.
pub(super) async fn healthcheck(config: Config) -> anyhow::Result<()> {
    let settings = Settings::parse(config)?;
    let asked = tokio::time::timeout(HEALTH_WITHIN, site::alive(&settings)).await;
    let answer = asked.unwrap_or_else(|_| Err("it has not answered for 5 seconds".to_owned()));
    answer.map_err(|why| anyhow::anyhow!("{}: {why}", settings.listen))?;
    out("alive")
}
