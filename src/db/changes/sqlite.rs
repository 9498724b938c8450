//! Changes in a SQLite file, of which this process is the only server.
//!
//! The triggers are temporary, so they belong to the writing connection and not to the file. They write into a table of that
//! connection, and SQLite calls us for each row of it, before the commit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sea_orm::ConnectOptions;
use sea_orm::sqlx::sqlite::{SqliteConnection, SqlitePool};
use sea_orm::sqlx::{self, AssertSqlSafe, Connection, Error};
use tracing::debug;

use super::{AGAIN, Changes};

/// How long an answer is good. When another process changes the file, copies live that long at most, and a command waits for it.
pub(super) const LEASE: Duration = Duration::from_millis(300);
/// How often the file is looked at while users are there.
const EVERY: Duration = Duration::from_millis(100);

/// The table that the triggers write to.
const TABLE: &str = "latchkey_changed";

/// What is known of the writing connection. It is replaced after a failure, and knows no triggers then.
#[derive(Debug, Default)]
pub(super) struct Writing {
    /// SQLite's counter of what others have committed, as of the last look. `None` for a connection without triggers.
    version: Mutex<Option<i64>>,
}

impl Writing {
    fn version(&self) -> MutexGuard<'_, Option<i64>> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the options of the writing connection.
pub(in crate::db) fn adapt(options: &ConnectOptions, changes: &Arc<Changes>) -> ConnectOptions {
    let mut options = options.clone();
    let told = changes.clone();
    options.map_sqlx_sqlite_pool_opts(move |pool| {
        let changes = told.clone();
        pool.after_connect(move |conn, _| Box::pin(begin(changes.clone(), conn)))
    });
    let changes = changes.clone();
    // When the disk is full, COMMIT fails, and SQLite rolls back by itself. The library still counts the transaction. What comes
    // next would be a part of it, which no reader sees and which is never committed. Such a connection is replaced.
    options.map_sqlx_sqlite_before_acquire(move |conn, _| {
        let idle = !conn.is_in_transaction();
        if idle {
            changes.close(); // whatever was begun on the only writing connection has ended
        }
        Box::pin(async move { Ok(idle) })
    });
    options
}

/// Takes a new writing connection, on which nobody has done anything.
///
/// # Errors
/// If the connection is broken.
async fn begin(changes: Arc<Changes>, conn: &mut SqliteConnection) -> Result<(), Error> {
    *changes.writing.version() = None;
    changes.stop();
    conn.lock_handle().await?.set_update_hook(move |row| {
        if row.table == TABLE
            && let Ok(counter) = usize::try_from(row.rowid)
        {
            changes.open(counter);
        }
    });
    Ok(())
}

/// Looks whether others have written. It has the only writing connection meanwhile, so nothing of ours happens.
async fn look(pool: &SqlitePool, changes: &Changes) -> Result<(), Error> {
    let mut conn = pool.acquire().await?;
    let began = Instant::now();
    if changes.writing.version().is_none() {
        sqlx::raw_sql(AssertSqlSafe(triggers())).execute(&mut *conn).await?;
    }
    let version: i64 = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *conn).await?;
    if changes.writing.version().replace(version) != Some(version) {
        changes.forget_all();
    }
    changes.good_until(began + LEASE);
    Ok(())
}

/// Looks again and again, as long as marks are asked for.
pub(in crate::db) async fn watch(pool: &SqlitePool, changes: &Changes) {
    loop {
        changes.wanted.notified().await;
        let pause = match look(pool, changes).await {
            Ok(()) => EVERY,
            Err(why) => {
                debug!(%why, "sessions are read from the file: it cannot be looked at");
                AGAIN
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// The triggers, which are the same as PostgreSQL's (step 11).
fn triggers() -> String {
    // The last 12 bits of the id, from its hexadecimal digits.
    let digit = |id: &str, n: u32| format!("instr('123456789ABCDEF', substr(hex({id}), -{n}, 1))");
    let trigger = |name: &str, on: &str, id: &str| {
        let counter = format!("{} * 256 + {} * 16 + {}", digit(id, 3), digit(id, 2), digit(id, 1));
        format!(
            "CREATE TEMP TRIGGER IF NOT EXISTS {name} AFTER {on} BEGIN \
                 INSERT OR REPLACE INTO {TABLE} VALUES ({counter}); \
             END;"
        )
    };
    [
        format!("CREATE TEMP TABLE IF NOT EXISTS {TABLE} (counter INTEGER PRIMARY KEY);"),
        trigger("latchkey_user_changed", "UPDATE ON main.users", "OLD.id"),
        trigger("latchkey_user_deleted", "DELETE ON main.users", "OLD.id"),
        trigger(
            "latchkey_session_changed",
            "UPDATE ON main.sessions WHEN (OLD.id, OLD.user_id, OLD.kind, OLD.remember) IS NOT \
             (NEW.id, NEW.user_id, NEW.kind, NEW.remember) OR NEW.expires_at < OLD.expires_at",
            "OLD.user_id",
        ),
        trigger("latchkey_session_deleted", "DELETE ON main.sessions", "OLD.user_id"),
    ]
    .concat()
}
