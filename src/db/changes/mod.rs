//! Which users have changed. Whoever keeps a copy of what the database says of a user and of the user's sessions learns here
//! whether the copy is still true.
//!
//! A copy carries the [`Mark`] that was current before its rows were read, and is true as long as that is the user's mark. No
//! code that changes a user has to remember this: triggers of the database find every row of `users` and `sessions` that is
//! changed or deleted, whoever does it.
//!
//! - SQLite: the triggers belong to the server's only writing connection and tell it before the commit (`sqlite`). Other
//!   processes that write to the file are found by a counter of SQLite's, ten times a second.
//! - PostgreSQL: the triggers notify all nodes with the commit (`postgres`), and a node that ends a session answers only when
//!   all of them have heard it.
//!
//! In both, marks are given out for a short time only after the database was asked ([`Changes::good_until`]). When it does not
//! answer, each request reads the rows itself. So nothing that is lost can make a copy live on.

pub(super) mod postgres;
pub(super) mod sqlite;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sea_orm::sqlx::PgPool;
use tokio::sync::Notify;
use uuid::Uuid;

use self::postgres::Nodes;
use self::sqlite::Writing;
use super::Db;

/// The number of counters. Users share them: a change of one user ends the copies of a few others too. In the last 12 bits of
/// an id (UUIDv7) there is no time, only chance.
const COUNTERS: usize = 1 << 12;

/// Counts changes of users.
#[derive(Debug)]
pub struct Changes {
    /// Odd while a transaction that changes a user of this counter may be open.
    counters: Box<[AtomicU64]>,
    /// Which counters are odd.
    open: Mutex<Vec<usize>>,
    /// Rises when anything may have changed unseen.
    era: AtomicU64,
    began: Instant,
    /// Until when the last answer of the database is good, in milliseconds after `began`.
    good_until: AtomicU64,
    /// Wakes the task that asks the database. It rests a while between two questions.
    wanted: Notify,
    /// The other servers, from the first time on that this one listens to them.
    nodes: OnceLock<Nodes>,
    /// SQLite's writing connection.
    writing: Writing,
    /// Whose servers a command writes beside.
    beside: Beside,
}

/// Where other processes may be servers, for a command that is none itself.
#[derive(Debug, Default)]
pub(super) enum Beside {
    /// This process is the server.
    #[default]
    Nothing,
    /// One server of this SQLite file.
    File(PathBuf),
    /// Any number of servers of this database.
    Database(PgPool),
}

/// The state of a user at one moment. Two equal marks mean that nothing about the user has changed in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    era: u64,
    counter: u64,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            open: Mutex::default(),
            era: AtomicU64::new(0),
            began: Instant::now(),
            good_until: AtomicU64::new(0),
            wanted: Notify::new(),
            nodes: OnceLock::new(),
            writing: Writing::default(),
            beside: Beside::Nothing,
        }
    }
}

impl Changes {
    /// Returns what a command knows. It keeps no copies.
    pub(super) fn of_a_command(beside: Beside) -> Self {
        Self { beside, ..Self::default() }
    }

    /// Returns the user's mark, or `None` if it is not known now whether the user has changed. Then only the rows are true, and
    /// no copy of them may be kept.
    pub fn mark(&self, user: Uuid) -> Option<Mark> {
        self.wanted.notify_one();
        let good = self.good_until.load(SeqCst) > self.millis(Instant::now());
        let counter = self.counters[counter_of(user)].load(SeqCst);
        let known = good && counter.is_multiple_of(2);
        known.then(|| Mark { era: self.era.load(SeqCst), counter })
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    /// Gives marks out until `at`: the database has told everything that was committed so much earlier.
    fn good_until(&self, at: Instant) {
        self.good_until.store(self.millis(at), SeqCst);
    }

    /// Gives no marks out until the database has answered again.
    fn stop(&self) {
        self.good_until.store(0, SeqCst);
        self.forget_all();
    }

    /// Ends all copies.
    fn forget_all(&self) {
        self.era.fetch_add(1, SeqCst);
    }

    /// Ends the copies of a user who has changed.
    fn changed(&self, user: Uuid) {
        self.counters[counter_of(user)].fetch_add(2, SeqCst);
    }

    /// Ends the copies of the users of a counter, and lets no other be made before [`Changes::close`]. Until the commit readers
    /// still see the old rows.
    fn open(&self, counter: usize) {
        let Some(count) = self.counters.get(counter) else { return };
        if count.load(SeqCst).is_multiple_of(2) {
            count.fetch_add(1, SeqCst);
            self.open.lock().unwrap_or_else(PoisonError::into_inner).push(counter);
        }
    }

    /// Lets copies be made again. Call it when no transaction is open.
    fn close(&self) {
        for counter in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            self.counters[counter].fetch_add(1, SeqCst);
        }
    }

    /// Waits until no server shows what was true before the commit that has just returned.
    pub(super) async fn reach_all(&self) {
        if let Some(nodes) = self.nodes.get() {
            nodes.reach_all().await;
        }
        match &self.beside {
            Beside::Nothing => {}
            Beside::File(file) if Db::is_served(file) => tokio::time::sleep(sqlite::LEASE).await,
            Beside::File(_) => {}
            Beside::Database(pool) => postgres::wait_for_all(pool).await,
        }
    }
}

fn counter_of(user: Uuid) -> usize {
    usize::from(u16::from_be_bytes([user.as_bytes()[14], user.as_bytes()[15]])) % COUNTERS
}

/// Returns whether a statement can end or change what is known of a user. A transaction with such a statement is told to all
/// servers before its answer. What this misses is told by the triggers all the same, but a moment later. That a session was seen
/// again ends nothing.
pub(super) fn is_told(sql: &str) -> bool {
    let reads_or_adds = sql.starts_with("SELECT") || sql.starts_with("INSERT");
    let of_users = sql.contains("users") || sql.contains("sessions");
    of_users && !reads_or_adds && !sql.starts_with("UPDATE \"sessions\" SET \"last_seen_at\"")
}

/// How long a task waits before it connects again.
const AGAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    /// Statements of a whole life, as the previous release said them.
    const SAID: &str = include_str!("../../../tests/previous_release/statements.sql");

    #[test]
    fn every_statement_that_can_end_a_session_is_told_before_its_answer() {
        for sql in ["WITH one AS (SELECT 1) DELETE FROM sessions", "UPDATE \"sessions\" SET \"kind\" = ?"] {
            assert!(is_told(sql), "{sql}");
        }
        let mut told = 0;
        for line in SAID.lines().filter(|line| !line.starts_with("INSERT") && !line.starts_with("SELECT")) {
            if is_told(line) {
                told += 1;
            } else {
                let of_them = line.contains("\"users\"") || line.contains("\"sessions\"");
                assert!(!of_them || line.starts_with("UPDATE \"sessions\" SET \"last_seen_at\""), "{line}");
            }
        }
        assert!(told > 10, "{told}");
    }

    #[test]
    fn a_mark_ends_with_each_change_and_there_is_none_while_a_change_is_open() {
        let (changes, user) = (Changes::default(), Uuid::from_u128(0xabc));
        assert_eq!(changes.mark(user), None, "the database was not asked");
        changes.good_until(Instant::now() + Duration::from_secs(60));
        let first = changes.mark(user);
        assert!(first.is_some() && changes.mark(user) == first);
        changes.changed(Uuid::from_u128(0xabd));
        assert_eq!(changes.mark(user), first, "it was another user");
        changes.changed(user);
        let second = changes.mark(user);
        assert!(second.is_some() && second != first);
        changes.open(counter_of(user));
        changes.open(counter_of(user));
        assert_eq!(changes.mark(user), None);
        changes.close();
        let third = changes.mark(user);
        assert!(third.is_some() && third != second);
        changes.forget_all();
        assert_ne!(changes.mark(user), third);
        changes.stop();
        assert_eq!(changes.mark(user), None);
    }
}
