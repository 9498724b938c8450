//! The table `replays`: which of several nodes answers a form, and what it has answered.
//!
//! Only nodes of a PostgreSQL database use it. A SQLite file has one server, which keeps all of this in memory
//! (`web::browser::replay`). The table has no plain text: an answer may set the cookie of a session.
//!
//! All times are the database's own, so the clocks of the nodes do not matter.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, Value};
use uuid::Uuid;

use crate::chance;
use crate::db::Db;
use crate::seal::{Seal, Seals};
use crate::secret::Secret;

/// Takes a form for five seconds, unless another node has it. If a node dies, the next one waits no longer than that.
const CLAIM: &str = "INSERT INTO replays (key, worker, response, expires_at) \
                     VALUES ($1, $2, NULL, now() + interval '5 seconds') \
                     ON CONFLICT (key) DO UPDATE \
                     SET worker = excluded.worker, response = NULL, expires_at = excluded.expires_at \
                     WHERE replays.expires_at <= now()";
/// Reads the answer of the node that has the form.
const LOOK: &str = "SELECT response FROM replays WHERE key = $1 AND expires_at > now()";
/// Takes the form for five seconds more.
const RENEW: &str = "UPDATE replays SET expires_at = now() + interval '5 seconds' WHERE key = $1 AND worker = $2";
/// Keeps an answer for as long as it is kept in memory.
const KEEP: &str =
    "UPDATE replays SET response = $3, expires_at = now() + interval '10 seconds' WHERE key = $1 AND worker = $2";
/// Gives a form back.
const RELEASE: &str = "DELETE FROM replays WHERE key = $1 AND worker = $2";
const SWEEP: &str = "DELETE FROM replays WHERE expires_at <= now()";

/// How often a node renews its claim. It is less than half of what [`CLAIM`] takes.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// The first and the longest pause between two looks at a form that another node answers.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(320)];

/// The forms that the nodes of one database answer.
#[derive(Debug)]
pub struct ReplayStore {
    db: Db,
    seals: Seals,
}

/// Which node answers a form.
pub enum Turn {
    /// This one.
    Ours(Claim),
    /// Another one has, and this is its answer.
    Answered(String),
}

impl ReplayStore {
    /// Returns the store, or `None` if the database is a SQLite file.
    pub fn new(db: &Db, secret: &Secret) -> Option<Self> {
        let shared = db.write().get_database_backend() == DbBackend::Postgres;
        shared.then(|| Self { db: db.clone(), seals: Seals::new(secret) })
    }

    /// Takes the form that has this digest. If another node has it, waits for the answer, or until the form is given back.
    pub async fn claim(&self, digest: &[u8; 32]) -> Result<Turn, DbErr> {
        let mut claim = Claim { db: self.db.clone(), seal: self.seals.of(digest), worker: chance::id(), held: false };
        let [mut pause, longest] = PAUSES;
        loop {
            if claim.say(CLAIM, [claim.worker.into()]).await? == 1 {
                claim.held = true;
                return Ok(Turn::Ours(claim));
            }
            while let Some(answer) = claim.look().await? {
                if let Some(text) = answer.and_then(|sealed| claim.seal.open(&sealed)) {
                    return Ok(Turn::Answered(text));
                }
                tokio::time::sleep(pause).await;
                pause = longest.min(pause * 2);
            }
        }
    }

    /// Deletes what has expired.
    pub async fn sweep(&self) -> Result<(), DbErr> {
        self.db.write().execute_raw(Statement::from_string(DbBackend::Postgres, SWEEP)).await?;
        Ok(())
    }
}

/// A form that this node answers. When the claim is dropped without an answer, another node may answer the form.
pub struct Claim {
    db: Db,
    seal: Seal,
    worker: Uuid,
    held: bool,
}

impl Claim {
    /// Does the work, and keeps the claim meanwhile.
    pub async fn hold<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            never = self.renew() => match never {},
        }
    }

    async fn renew(&self) -> Infallible {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            // If the database is out of reach, the work finds that out by itself.
            let _ = self.say(RENEW, [self.worker.into()]).await;
        }
    }

    /// Keeps the answer for the other nodes.
    pub async fn answer(mut self, text: &str) {
        let Some(sealed) = self.seal.close(text) else { return };
        // Without the row, a second form is answered as a late one: the guards in the database hold.
        if self.say(KEEP, [self.worker.into(), sealed.into()]).await.is_ok() {
            self.held = false;
        }
    }

    /// Asks for the row. Returns `None` if there is none, and otherwise the answer, if there is one yet.
    async fn look(&self) -> Result<Option<Option<Vec<u8>>>, DbErr> {
        let row = self.db.write().query_one_raw(self.statement(LOOK, [])).await?;
        row.map(|row| row.try_get_by_index(0)).transpose()
    }

    async fn say<const N: usize>(&self, sql: &str, values: [Value; N]) -> Result<u64, DbErr> {
        Ok(self.db.write().execute_raw(self.statement(sql, values)).await?.rows_affected())
    }

    fn statement<const N: usize>(&self, sql: &str, values: [Value; N]) -> Statement {
        let values = std::iter::once(self.seal.name().into()).chain(values);
        Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.held {
            let release = self.statement(RELEASE, [self.worker.into()]);
            let db = self.db.clone();
            // If it fails, the claim ends by itself.
            tokio::spawn(async move { db.write().execute_raw(release).await });
        }
    }
}
