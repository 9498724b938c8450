//! The database. It is opened once, with the settings that make SQLite safe.

mod advisory;
mod changes;
mod migrate;
mod postgres;
mod url;
mod whole;
mod writer;

use std::fs::{self, File, TryLockError};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Access, access};
use sea_orm::sea_query::{IntoCondition, LockBehavior, LockType};
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ColumnTrait, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    EntityTrait, Iterable, PrimaryKeyToColumn, QueryFilter, QuerySelect, QueryTrait, Statement, TransactionOptions,
    TransactionTrait,
};
use tracing::{Instrument, warn};

use changes::Beside;

pub use advisory::{Alone, Lock};
pub use changes::{Changes, Mark};
pub use url::DatabaseUrl;
pub use whole::{is_in_use, take_backup_turn};
pub use writer::{Transaction, Writer};

/// What our connections to PostgreSQL are called there (`pg_stat_activity`).
const APPLICATION: &str = "latchkey";

/// How many statements a connection keeps prepared. It is more than there are in the program: with the 100 of the library, those
/// that are used less often would be prepared anew each time.
const STATEMENTS: usize = 512;

/// The connections to the database. On PostgreSQL, reading and writing share one pool. On SQLite there are several readers
/// and one writer: a second writer could only wait for the first.
#[derive(Clone, Debug)]
pub struct Db {
    read: DatabaseConnection,
    write: Writer,
}

impl Db {
    /// Locks a SQLite file for a server. The lock ends when the returned file is dropped, or when the process ends, also after
    /// a crash.
    ///
    /// # Errors
    /// If another process has the lock.
    pub fn lock(file: &Path) -> io::Result<File> {
        let path = lock_of(file);
        let lock = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut lock = lock.map_err(|why| Error::new(why.kind(), format!("{}: {why}", path.display())))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(why)) => return Err(why),
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                lock.read_to_string(&mut pid)?;
                let why = format!("process {} serves from {} already", pid.trim(), file.display());
                return Err(Error::new(ErrorKind::ResourceBusy, why));
            }
        }
        lock.set_len(0)?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(lock)
    }

    /// Returns whether a server has locked this SQLite file.
    fn is_served(file: &Path) -> bool {
        let lock = File::open(lock_of(file));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Connects to the database, and makes the SQLite file if there is none.
    ///
    /// # Errors
    /// One line that says what to do.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, DbErr> {
        Self::connect(url, true).await
    }

    /// Connects to the database for a command, which makes no SQLite file.
    ///
    /// # Errors
    /// One line that says what to do, also if there is no file.
    pub async fn open_existing(url: &DatabaseUrl) -> Result<Self, DbErr> {
        Self::connect(url, false).await
    }

    async fn connect(url: &DatabaseUrl, make: bool) -> Result<Self, DbErr> {
        let mut options = ConnectOptions::new(url.reveal());
        options.sqlx_logging(false).acquire_timeout(Duration::from_secs(10)).set_application_name(APPLICATION);
        let Some(file) = url.file() else {
            postgres::try_once(url.reveal()).await?;
            options.map_sqlx_postgres_opts(postgres::adapt);
            options
                .test_before_acquire(false)
                .map_sqlx_postgres_before_acquire(|connection, _| Box::pin(postgres::answers(connection)));
            let pool = Database::connect(options.max_connections(16).to_owned()).await?;
            let beside = || Beside::Database(pool.get_postgres_connection_pool().clone());
            let changes = if make { Changes::default() } else { Changes::of_a_command(beside()) };
            return Ok(Self::of(pool.clone(), pool, Arc::new(changes)));
        };
        if file.exists() {
            // SQLite would open a file that it cannot write, and the first write would fail, hours later.
            access(file, Access::WRITE_OK)
                .map_err(|why| DbErr::Custom(format!("cannot write to {}: {why}", file.display())))?;
        }
        options.map_sqlx_sqlite_opts(move |sqlite| {
            let sqlite = sqlite
                .create_if_missing(make)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(Duration::from_secs(5))
                .foreign_keys(true)
                .statement_cache_capacity(STATEMENTS);
            // WAL mode stays with the file. To set it again would write into a file that may not be our database.
            if make { sqlite.journal_mode(SqliteJournalMode::Wal) } else { sqlite }
        });
        options.test_before_acquire(false);
        // Connections are never closed for their age.
        options.idle_timeout(None::<Duration>).max_lifetime(None::<Duration>).min_connections(1);
        let changes =
            Arc::new(if make { Changes::default() } else { Changes::of_a_command(Beside::File(file.to_owned())) });
        // The writer connects first, because it makes the file.
        let write = Database::connect(changes::sqlite::adapt(&options, &changes).max_connections(1).to_owned()).await?;
        let read = Database::connect(options.max_connections(4).to_owned()).await?;
        if make && !keeps_plans(&write).await? {
            warn!(
                "SQLite was built without SQLITE_ENABLE_QPSG and prepares every query anew, so pages take longer: build with \
                 LIBSQLITE3_FLAGS as in .cargo/config.toml"
            );
        }
        Ok(Self::of(read, write, changes))
    }

    fn of(read: DatabaseConnection, write: DatabaseConnection, changes: Arc<Changes>) -> Self {
        Self { read, write: Writer { pool: write, changes } }
    }

    /// Moves the content of SQLite's write-ahead log into the database's file, at the end of a server. A copy of the file then
    /// has everything, even if a command still has the database open.
    ///
    /// # Errors
    /// If another process reads or writes for longer than five seconds.
    pub async fn checkpoint(&self) -> Result<(), DbErr> {
        if self.write.get_database_backend() != DbBackend::Sqlite {
            return Ok(());
        }
        // The server's own readers would block it.
        self.read.close_by_ref().await?;
        let ask = Statement::from_string(DbBackend::Sqlite, "PRAGMA wal_checkpoint(TRUNCATE)");
        let row = self.write.query_one_raw(ask).await?;
        match row.ok_or(DbErr::RecordNotFound("wal_checkpoint".into()))?.try_get_by_index::<i32>(0)? {
            0 => Ok(()),
            _ => Err(DbErr::Custom("another process is using the database".into())),
        }
    }

    /// Closes all connections, after they have finished their work. The last connection to a SQLite file, of all processes,
    /// moves the content of the write-ahead log into the file and deletes the log.
    pub async fn close(&self) -> Result<(), DbErr> {
        self.read.close_by_ref().await?;
        self.write.pool.close_by_ref().await
    }

    /// Returns the connections for statements that only read.
    pub fn read(&self) -> &DatabaseConnection {
        &self.read
    }

    /// Returns the connections for single statements that write.
    pub fn write(&self) -> &Writer {
        &self.write
    }

    /// Begins a transaction, which takes the write lock at once. In SQLite, a transaction that reads before it writes can fail
    /// with BUSY, whatever the timeout is.
    pub async fn begin(&self) -> Result<Transaction, DbErr> {
        self.write.begin().await
    }

    /// Returns which users have changed. As long as [`Db::watch`] does not run, nothing is known of any.
    pub fn changes(&self) -> &Changes {
        &self.write.changes
    }

    /// Learns which users have changed, for as long as the server runs.
    pub async fn watch(&self) {
        let Writer { pool, changes } = &self.write;
        match pool.get_database_backend() {
            DbBackend::Postgres => changes::postgres::watch(pool.get_postgres_connection_pool(), changes).await,
            _ => changes::sqlite::watch(pool.get_sqlite_connection_pool(), changes).await,
        }
    }

    /// Checks that the database answers a reader. It does not ask SQLite's one writer: a long transaction, or a queue of
    /// short ones, would make a server that works look dead to its load balancer.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.read.ping().await
    }
}

/// Returns the file whose lock the server of a SQLite file has. It is a file of its own: closing any handle of the database's
/// file would end SQLite's locks on it (POSIX).
fn lock_of(file: &Path) -> PathBuf {
    // A symlink is another way to the same database.
    fs::canonicalize(file).unwrap_or_else(|_| file.to_owned()).with_added_extension("lock")
}

/// Does the work of a background task with the database, in so much time at most.
///
/// A connection whose other end has gone without a word, as after a loss of power or a failover, answers nothing, and its
/// statement waits for ever. Requests have a time limit of their own. A task without one would hang until the next start.
///
/// # Errors
/// If the work fails, or is not done in time.
pub async fn within<T, E: From<DbErr>>(limit: Duration, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let late = || DbErr::Custom(format!("the database has not answered for {} seconds", limit.as_secs()));
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late().into()))
}

/// Begins a transaction. On PostgreSQL it does so in a task of its own, because the caller may be given up at any moment: a
/// request ends when its client goes. If that is while PostgreSQL answers `BEGIN`, sqlx 0.9.0 puts a connection into the pool that
/// is still in its transaction (their issue 4393, mended after that release). What others write on it would answer "done" and be
/// lost. The task goes on to the end, and a transaction that nobody takes from it is rolled back. SQLite needs none: there the library
/// rolls back a `BEGIN` whose answer nobody takes.
async fn begin(pool: &DatabaseConnection, options: TransactionOptions) -> Result<DatabaseTransaction, DbErr> {
    if pool.get_database_backend() != DbBackend::Postgres {
        return pool.begin_with_options(options).await;
    }
    let pool = pool.clone();
    let task = tokio::spawn(async move { pool.begin_with_options(options).await }.in_current_span());
    task.await.unwrap_or_else(|why| Err(DbErr::Custom(why.to_string())))
}

/// Returns whether SQLite keeps a prepared query, whatever values it is given next.
async fn keeps_plans(db: &DatabaseConnection) -> Result<bool, DbErr> {
    let ask = Statement::from_string(DbBackend::Sqlite, "SELECT sqlite_compileoption_used('ENABLE_QPSG')");
    let row = db.query_one_raw(ask).await?;
    row.map_or(Ok(false), |row| row.try_get_by_index(0))
}

/// Returns the reason of a database error, without the library's prefix and without repeating it.
pub fn why(error: &DbErr) -> String {
    match error {
        DbErr::Custom(why) => why.clone(),
        // The text has its causes in it already.
        other => other.to_string(),
    }
}

/// Deletes the rows that match the condition, one thousand per statement. Returns how many it deleted.
///
/// A flood leaves a million rows to delete. One statement for all of them would hold SQLite's only writer for seconds, and
/// every log-in would wait for it. Between two statements, others can write: the pool serves them in turn.
///
/// # Errors
/// If a statement fails. Some rows may be deleted then.
pub async fn delete_in_batches<E: EntityTrait>(
    conn: &impl ConnectionTrait,
    matching: impl IntoCondition,
) -> Result<u64, DbErr> {
    const BATCH: u64 = 1000;
    let matching = matching.into_condition();
    let mut deleted = 0;
    for key in E::PrimaryKey::iter().map(PrimaryKeyToColumn::into_column).take(1) {
        loop {
            let batch = E::find().select_only().column(key).filter(matching.clone()).limit(BATCH);
            // On PostgreSQL. A row that is locked is left for the next sweep: if both waited, neither would end.
            let batch = batch.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked).into_query();
            let rows = E::delete_many().filter(key.in_subquery(batch)).exec(conn).await?.rows_affected;
            deleted += rows;
            if rows < BATCH {
                break;
            }
        }
    }
    Ok(deleted)
}
