//! `latchkey mail …`: look at the emails in the outbox, have them sent again, take them out.

use clap::Subcommand;
use sea_orm::{ActiveEnum, Iterable};
use tracing::{Instrument, error_span};

use super::listing::{self, out};
use super::open::open_db;
use crate::accounts::outbox::operate::{self, Operated, Wanted};
use crate::accounts::outbox::{LetterState, OutboxRow};
use crate::accounts::user::email::Email;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;

/// How many emails are listed.
const LISTED: u64 = 100;

/// An ID may be given by its beginning.
#[derive(Subcommand)]
pub(super) enum MailCommand {
    /// List emails, newest first, 100 at most: ID, state, kind, address, since when, and what comes next or went wrong.
    List {
        /// Those in this state: waiting, sent, dropped or failed.
        #[arg(long, value_parser = state)]
        state: Option<LetterState>,
        /// Those to this address.
        #[arg(long, value_name = "ADDRESS")]
        to: Option<String>,
        /// As one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Show one email: its state, its attempts, and the mail server's own words.
    Show {
        /// The ID, or its beginning.
        id: String,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Have emails sent now that wait, were given up or dropped. A running server attempts them within 5 seconds.
    Retry {
        /// The IDs, or their beginnings.
        #[arg(required_unless_present = "failed", conflicts_with = "failed", value_name = "ID")]
        ids: Vec<String>,
        /// All that were given up.
        #[arg(long)]
        failed: bool,
    },
    /// Take emails out of those to send.
    Drop {
        /// The IDs, or their beginnings.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

fn state(typed: &str) -> Result<LetterState, String> {
    let known = LetterState::iter().find(|state| state.to_value() == typed);
    known.ok_or_else(|| "must be waiting, sent, dropped or failed".to_owned())
}

pub(super) async fn run(config: &Config, command: MailCommand) -> anyhow::Result<()> {
    let db = open_db(&config.storage()?).await?;
    let done = run_on(&db, command).await;
    db.close().await?;
    done
}

async fn run_on(db: &Db, command: MailCommand) -> anyhow::Result<()> {
    match command {
        MailCommand::List { state, to, json } => list(db, state, to, json).await,
        MailCommand::Show { id, json } => listing::letter(&find(db, &id).await?, json),
        MailCommand::Retry { failed: true, .. } => retry_failed(db).await,
        MailCommand::Retry { ids, .. } => {
            // All of them are found before one is changed.
            for row in find_all(db, &ids).await? {
                retry(db, &row).await?;
            }
            Ok(())
        }
        MailCommand::Drop { ids } => {
            for row in find_all(db, &ids).await? {
                drop(db, &row).await?;
            }
            Ok(())
        }
    }
}

async fn list(db: &Db, state: Option<LetterState>, to: Option<String>, json: bool) -> anyhow::Result<()> {
    let parse = |typed: String| Email::parse(&typed).map_err(|_| anyhow::anyhow!("{typed} is not an email address"));
    let wanted = Wanted { state, to: to.map(parse).transpose()? };
    let (rows, more) = operate::newest(db.read(), &wanted, LISTED).await?;
    listing::letters(&rows, json)?;
    if more > 0 && !json {
        out(format!("and {more} more, which are older; --state and --to list fewer"))?;
    }
    Ok(())
}

async fn find(db: &Db, id: &str) -> anyhow::Result<OutboxRow> {
    let mut found = operate::by_prefix(db.read(), id).await?;
    match (found.pop(), found.pop()) {
        (Some(row), None) => Ok(row),
        (None, _) => anyhow::bail!("there is no email {id}; `latchkey mail list` lists them"),
        (Some(_), Some(_)) => anyhow::bail!("the IDs of several emails begin with {id}; give more of it"),
    }
}

async fn find_all(db: &Db, ids: &[String]) -> anyhow::Result<Vec<OutboxRow>> {
    let mut rows = vec![];
    for id in ids {
        rows.push(find(db, id).await?);
    }
    Ok(rows)
}

async fn retry_failed(db: &Db) -> anyhow::Result<()> {
    let wanted = Wanted { state: Some(LetterState::Failed), to: None };
    let (rows, _) = operate::newest(db.read(), &wanted, u64::from(u32::MAX)).await?;
    if rows.is_empty() {
        return out("There is no email that was given up.");
    }
    let mut due = 0;
    for row in &rows {
        match asked_to_retry(db, row).await? {
            Operated::Done => due += 1,
            _ => out(format!("{} is too late, and stays as it is.", named(row)))?,
        }
    }
    out(format!("{} due now; the running server attempts to send within 5 seconds.", listing::count(due, "email")))
}

/// Returns the ID with kind and address, to name an email in a line of output.
fn named(row: &OutboxRow) -> String {
    format!("{} ({} to {})", row.id, row.letter, row.to_address)
}

async fn asked_to_retry(db: &Db, row: &OutboxRow) -> anyhow::Result<Operated> {
    let span = error_span!("letter", id = %row.id, kind = row.letter);
    Ok(operate::retry(db, row, Clock::default().now()).instrument(span).await?)
}

async fn retry(db: &Db, row: &OutboxRow) -> anyhow::Result<()> {
    let name = named(row);
    match asked_to_retry(db, row).await? {
        Operated::Done | Operated::MayGoOut => {
            out(format!("{name} is due now; the running server attempts to send it within 5 seconds."))
        }
        Operated::Leased => {
            anyhow::bail!("{name} is being sent right now; `latchkey mail show {}` says how it went", row.id)
        }
        Operated::Already(state) => anyhow::bail!("{name} is {} already", state.to_value()),
        Operated::TooLate if row.letter == "signup" => {
            anyhow::bail!(
                "{name} is too late: the sign-up was confirmed or has expired, so its user has to sign up again"
            )
        }
        Operated::TooLate => {
            anyhow::bail!("{name} is too late: its link would be about log-ins that are too long ago to be undone")
        }
    }
}

async fn drop(db: &Db, row: &OutboxRow) -> anyhow::Result<()> {
    let (name, span) = (named(row), error_span!("letter", id = %row.id, kind = row.letter));
    match operate::drop(db, row, Clock::default().now()).instrument(span).await? {
        Operated::MayGoOut | Operated::Leased => {
            out(format!("Dropped {name}. It is being sent right now, so it may go out once."))
        }
        Operated::Already(state) => {
            anyhow::bail!("{name} is {} already; only an email that waits can be dropped", state.to_value())
        }
        Operated::Done | Operated::TooLate => out(format!("Dropped {name}.")),
    }
}
