//! The checker: what must be true after a fault, whatever the fault was.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use latchkey::clock::Clock;
use latchkey::db::{DatabaseUrl, Db};
use sea_orm::prelude::Uuid;
use sea_orm::{ConnectionTrait, QueryResult, Statement};
use time::OffsetDateTime;
use tokio::time::sleep;

use crate::catcher::Catcher;
use crate::site::Tally;
use crate::user::User;

/// How long the letters may take after the fault: the pauses between attempts are 5 and 20 seconds, and a lease is 30.
const LETTERS_WITHIN: Duration = Duration::from_secs(75);

/// A row of the outbox.
#[derive(Debug)]
struct Row {
    id: Uuid,
    letter: String,
    to: String,
    state: String,
    attempts: i32,
    next_attempt_at: OffsetDateTime,
    created_at: OffsetDateTime,
    sent_at: Option<OffsetDateTime>,
    last_error: Option<String>,
}

/// What the letters of a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Letters {
    pub rows: usize,
    pub sent: usize,
    pub failed: usize,
    /// Deliveries of a letter beyond the first.
    pub twice: usize,
    /// The longest time from a letter's row to its delivery.
    pub slowest: Duration,
}

/// The database, opened beside the program.
pub struct Books(Db);

impl Books {
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let url: DatabaseUrl = url.parse().map_err(|why| anyhow::anyhow!("{why}"))?;
        Ok(Self(Db::open_existing(&url).await?))
    }

    pub async fn ask(&self, query: &str) -> anyhow::Result<Vec<QueryResult>> {
        let backend = self.0.read().get_database_backend();
        Ok(self.0.read().query_all_raw(Statement::from_string(backend, query)).await?)
    }

    async fn rows(&self) -> anyhow::Result<Vec<Row>> {
        let columns = "id, letter, to_address, state, attempts, next_attempt_at, created_at, sent_at, last_error";
        let rows = self.ask(&format!("SELECT {columns} FROM outbox")).await?;
        let row = |row: &QueryResult| {
            Ok(Row {
                id: row.try_get("", "id")?,
                letter: row.try_get("", "letter")?,
                to: row.try_get("", "to_address")?,
                state: row.try_get("", "state")?,
                attempts: row.try_get("", "attempts")?,
                next_attempt_at: row.try_get("", "next_attempt_at")?,
                created_at: row.try_get("", "created_at")?,
                sent_at: row.try_get("", "sent_at")?,
                last_error: row.try_get("", "last_error")?,
            })
        };
        rows.iter().map(row).collect()
    }

    /// Waits until no letter waits that should be on its way, and compares the rows with what arrived.
    pub async fn letters(&self, mail: &Catcher, tally: &Tally) -> anyhow::Result<Letters> {
        let began = Instant::now();
        let rows = loop {
            let rows = self.rows().await?;
            // News may wait for their turn, and are then not attempted for an hour.
            let later = Clock::default().now() + time::Duration::minutes(10);
            let waits = |row: &&Row| row.state == "waiting" && (row.attempts > 0 || row.next_attempt_at < later);
            let waiting: Vec<_> = rows.iter().filter(waits).collect();
            if waiting.is_empty() {
                break rows;
            }
            if began.elapsed() > LETTERS_WITHIN {
                tally.violated(format!("{} letters still wait, such as {:?}", waiting.len(), waiting[0]));
                break rows;
            }
            sleep(Duration::from_millis(250)).await;
        };
        let mut taken = BTreeMap::<String, usize>::new();
        for letter in mail.taken() {
            *taken.entry(letter.id).or_default() += 1;
        }
        let mut letters = Letters { rows: rows.len(), ..Letters::default() };
        for row in &rows {
            let arrived = taken.remove(&row.id.to_string()).unwrap_or_default();
            letters.sent += usize::from(row.state == "sent");
            letters.failed += usize::from(row.state == "failed");
            if row.state == "failed" && row.last_error.is_none() {
                tally.violated(format!("a letter was given up without a reason: {row:?}"));
            }
            letters.twice += arrived.saturating_sub(1);
            if let Some(sent) = row.sent_at {
                letters.slowest = letters.slowest.max((sent - row.created_at).unsigned_abs());
            }
            if row.state == "sent" && arrived == 0 {
                tally.violated(format!("a letter is sent, and has not arrived: {row:?}"));
            }
            if arrived > usize::try_from(row.attempts)? + 1 {
                tally.violated(format!("a letter arrived {arrived} times: {row:?}"));
            }
        }
        if let Some((id, _)) = taken.first_key_value() {
            tally.violated(format!("{} letters arrived that have no row, such as {id}", taken.len()));
        }
        Ok(letters)
    }

    /// Compares the rows of one user with the answers.
    pub async fn user(&self, user: &mut User) -> anyhow::Result<()> {
        let address = user.address();
        let rows = self.rows().await?;
        let letters = |kind: &str| rows.iter().filter(|row| row.to == address && row.letter == kind).count();
        for (what, kind, [sure, unsure]) in
            [("resets", "reset_password", user.asked), ("sign-ups", "signup", user.signups)]
        {
            let count = letters(kind);
            if count < sure || count > sure + unsure {
                user.ledger.violated(&format!(
                    "{sure} {what} were acknowledged, {unsure} perhaps, and {count} letters written"
                ));
            }
        }
        let of_user = format!("(SELECT id FROM users WHERE email_canonical = '{address}')");
        let kinds = "('password_changed', 'reset_done')";
        let events = format!("SELECT id FROM events WHERE kind IN {kinds} AND user_id = {of_user}");
        let events = self.ask(&events).await?.len();
        user.ledger.changes(events, letters("password_changed"));
        Ok(())
    }

    /// Runs SQLite's own checks.
    pub async fn integrity(&self, tally: &Tally) -> anyhow::Result<()> {
        let answer = self.ask("PRAGMA integrity_check").await?;
        let answer: String = answer.first().context("no answer")?.try_get_by_index(0)?;
        let orphans = self.ask("PRAGMA foreign_key_check").await?.len();
        if answer != "ok" || orphans > 0 {
            tally.violated(format!("integrity check: {answer}; {orphans} rows without their parent"));
        }
        Ok(())
    }
}
