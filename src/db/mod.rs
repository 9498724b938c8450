//! The database: opened once, with the settings that keep SQLite honest, and handed to the verbs.

mod postgres;

use std::fs::{self, File, TryLockError};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use migrations::{Migrator, MigratorTrait};
use rustix::fs::{Access, access};
use sea_orm::sea_query::IntoCondition;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgSslMode};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ColumnTrait, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    EntityTrait, Iterable, PrimaryKeyToColumn, QueryFilter, QuerySelect, QueryTrait, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};

/// Before 3.51.3, a checkpoint that ran into a second connection could corrupt a WAL database.
const SQLITE_MIN: &str = "3.51.3";
/// The key of PostgreSQL's advisory lock around the migrations: "latchkey" as a number. Other programs in the same
/// database must not use it.
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"latchkey");

/// Connections for reading and for writing: the same pool on PostgreSQL, one writer and several readers
/// on SQLite, where a second writer could only wait for the first.
#[derive(Clone, Debug)]
pub struct Db {
    read: DatabaseConnection,
    write: DatabaseConnection,
}

impl Db {
    /// Locks a SQLite file for a server, until what is returned is dropped or the process ends in whatever way.
    ///
    /// # Errors
    /// When another process has it.
    pub fn lock(url: &str) -> io::Result<File> {
        let file = file_of(url).map_err(Error::other)?;
        // By its own name: a symlink is another way to the same database.
        let file = fs::canonicalize(&file).unwrap_or(file);
        // In a file of its own, since closing any handle of the database's file would end SQLite's locks on it (POSIX).
        let path = file.with_added_extension("lock");
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

    /// Returns the file of a `sqlite:` URL, or `None` if the database is elsewhere.
    ///
    /// # Errors
    /// When the URL names no file.
    pub fn file(url: &str) -> Result<Option<PathBuf>, DbErr> {
        url.starts_with("sqlite:").then(|| file_of(url)).transpose()
    }

    /// Connects to `sqlite://FILE` or `postgres://…`, making the SQLite file when there is none.
    ///
    /// # Errors
    /// When the database cannot be reached, or the SQLite inside this program is too old.
    pub async fn open(url: &str) -> Result<Self, DbErr> {
        Self::connect(url, true).await
    }

    /// As [`Db::open`], for a command: a SQLite file that is not there is not made.
    ///
    /// # Errors
    /// As [`Db::open`], and when there is no file.
    pub async fn open_existing(url: &str) -> Result<Self, DbErr> {
        Self::connect(url, false).await
    }

    async fn connect(url: &str, make: bool) -> Result<Self, DbErr> {
        let mut options = ConnectOptions::new(url);
        options.sqlx_logging(false).acquire_timeout(Duration::from_secs(10));
        if !url.starts_with("sqlite:") {
            postgres::try_once(url).await?;
            let pool = Database::connect(options.max_connections(16).to_owned()).await?;
            return Ok(Self { read: pool.clone(), write: pool });
        }

        let file = file_of(url)?;
        if file.exists() {
            // SQLite would open it for reading, and the first write would fail, hours later.
            access(&file, Access::WRITE_OK)
                .map_err(|why| DbErr::Custom(format!("cannot write to {}: {why}", file.display())))?;
        }
        options.map_sqlx_sqlite_opts(move |sqlite| {
            let sqlite = sqlite
                .create_if_missing(make)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(Duration::from_secs(5))
                .foreign_keys(true);
            // The mode stays with the file. Setting it would write into a file that may be no database of ours.
            if make { sqlite.journal_mode(SqliteJournalMode::Wal) } else { sqlite }
        });
        // The writer first: it is the one that makes the file. Connections stay open for good.
        options.idle_timeout(None::<Duration>).max_lifetime(None::<Duration>).min_connections(1).max_connections(1);
        let write = Database::connect(options.clone()).await?;
        let read = Database::connect(options.max_connections(4).to_owned()).await?;
        let db = Self { read, write };
        db.refuse_old_sqlite().await?;
        Ok(db)
    }

    async fn refuse_old_sqlite(&self) -> Result<(), DbErr> {
        let ask = Statement::from_string(DbBackend::Sqlite, "SELECT sqlite_version() AS version");
        let row = self.read.query_one_raw(ask).await?;
        refuse_old(&row.ok_or(DbErr::RecordNotFound("sqlite_version()".into()))?.try_get::<String>("", "version")?)
    }

    /// Brings the tables up to this program's version. Safe to call at every start, in any number of processes at once.
    ///
    /// All steps are one transaction, and only one process at a time is in it: two that both found an empty database
    /// would both create the first table. SQLite takes its write lock when the transaction begins. PostgreSQL has an
    /// advisory lock, which ends with the transaction, also when the process dies in it. Where nothing is to be done, a
    /// look is enough, so that a command need not wait for a server that writes.
    ///
    /// # Errors
    /// When a step fails; then none of them stays.
    pub async fn migrate(&self) -> Result<(), DbErr> {
        if self.is_up_to_date().await? {
            return Ok(());
        }
        let tx = self.begin().await?;
        if tx.get_database_backend() == DbBackend::Postgres {
            let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
            tx.execute_raw(Statement::from_string(DbBackend::Postgres, lock)).await?;
        }
        Migrator::up(&tx, None).await?;
        tx.commit().await
    }

    /// Returns whether the tables are those of this program's version. Reads only.
    ///
    /// # Errors
    /// When the database is out of reach, or a newer program has made its tables.
    pub async fn is_up_to_date(&self) -> Result<bool, DbErr> {
        match Migrator::get_pending_migrations_read_only(&self.read).await {
            Ok(pending) => Ok(pending.is_empty()),
            Err(DbErr::Custom(why)) => Err(self.refuse_newer().await.err().unwrap_or(DbErr::Custom(why))),
            Err(why) => Err(why),
        }
    }

    /// Refuses a database with steps that this program does not know: it would write rows that a newer one misreads.
    async fn refuse_newer(&self) -> Result<(), DbErr> {
        let known = Migrator::get_migration_files();
        let mut applied = Migrator::get_migration_models(&self.read).await?;
        applied.retain(|step| known.iter().all(|known| known.name() != step.version));
        let Some(step) = applied.pop() else { return Ok(()) };
        Err(DbErr::Custom(format!(
            "a newer Latchkey has changed this database (step {}), which this one does not know; run the newer one, or restore a \
             copy of the database from before",
            step.version
        )))
    }

    /// Moves what stands in SQLite's write-ahead log into the file, for the end of a server: a copy of the one file then
    /// holds everything, even if a command still has the database open.
    ///
    /// # Errors
    /// When the database is out of reach, or another process reads or writes for longer than five seconds.
    pub async fn checkpoint(&self) -> Result<(), DbErr> {
        if self.write.get_database_backend() != DbBackend::Sqlite {
            return Ok(());
        }
        // The server's own readers would be in the way.
        self.read.close_by_ref().await?;
        let ask = Statement::from_string(DbBackend::Sqlite, "PRAGMA wal_checkpoint(TRUNCATE)");
        let row = self.write.query_one_raw(ask).await?;
        match row.ok_or(DbErr::RecordNotFound("wal_checkpoint".into()))?.try_get_by_index::<i32>(0)? {
            0 => Ok(()),
            _ => Err(DbErr::Custom("another process is using the database".into())),
        }
    }

    /// Ends all connections, after what they do now. The last one to a SQLite file, of all processes, moves what stands in
    /// the write-ahead log into the file and deletes the log.
    ///
    /// # Errors
    /// When the database is out of reach.
    pub async fn close(&self) -> Result<(), DbErr> {
        self.read.close_by_ref().await?;
        self.write.close_by_ref().await
    }

    /// For statements that only read.
    pub fn read(&self) -> &DatabaseConnection {
        &self.read
    }

    /// For single statements that write.
    pub fn write(&self) -> &DatabaseConnection {
        &self.write
    }

    /// A transaction that holds the write lock from its first moment: in SQLite, one that reads before it
    /// writes can fail with BUSY whatever the timeout is.
    ///
    /// # Errors
    /// When the database is out of reach.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let sqlite = self.write.get_database_backend() == DbBackend::Sqlite;
        let options = TransactionOptions {
            sqlite_transaction_mode: sqlite.then_some(SqliteTransactionMode::Immediate),
            ..Default::default()
        };
        self.write.begin_with_options(options).await
    }

    /// Asks whether the database answers a reader. SQLite's one writer is not asked: a long transaction, or a queue of
    /// short ones, would make a server that works look dead to its load balancer.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.read.ping().await
    }
}

/// Returns what went wrong with a database, once and without the library's own heading.
pub fn why(error: &DbErr) -> String {
    match error {
        DbErr::Custom(why) => why.clone(),
        // Its causes are in it already.
        other => other.to_string(),
    }
}

/// Whether a PostgreSQL URL leads off this machine to a server that need not prove who it is. Only `verify-full` does
/// both: encrypt, and compare the certificate with the host's name (PostgreSQL, 34.19.1).
pub fn is_unverified(url: &str) -> bool {
    // What cannot be read is refused when it is opened.
    let Ok(options) = PgConnectOptions::from_str(url) else { return false };
    let host = options.get_host().trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let here = loopback || host.starts_with('/') || options.get_socket().is_some();
    !here && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull)
}

/// Deletes the rows that `these` are true of, a thousand in a statement; returns how many.
///
/// A flood leaves a million rows to delete. In one statement they would hold SQLite's only writer for seconds, and
/// every log-in with it. Between two statements others write: the pool serves those who wait in turn.
///
/// # Errors
/// When the database is out of reach. Some rows may be gone then.
pub async fn delete_in_batches<E: EntityTrait>(
    conn: &impl ConnectionTrait,
    these: impl IntoCondition,
) -> Result<u64, DbErr> {
    const BATCH: u64 = 1000;
    let these = these.into_condition();
    let mut deleted = 0;
    for key in E::PrimaryKey::iter().map(PrimaryKeyToColumn::into_column).take(1) {
        loop {
            let batch = E::find().select_only().column(key).filter(these.clone()).limit(BATCH).into_query();
            let gone = E::delete_many().filter(key.in_subquery(batch)).exec(conn).await?.rows_affected;
            deleted += gone;
            if gone < BATCH {
                break;
            }
        }
    }
    Ok(deleted)
}

/// The file of a `sqlite:` URL, as the library will open it.
fn file_of(url: &str) -> Result<PathBuf, DbErr> {
    let options = SqliteConnectOptions::from_str(url).map_err(|why| DbErr::Custom(why.to_string()))?;
    Ok(options.get_filename().to_owned())
}

fn refuse_old(version: &str) -> Result<(), DbErr> {
    let number = |text: &str| -> Vec<u32> { text.split('.').filter_map(|part| part.parse().ok()).collect() };
    if number(version) < number(SQLITE_MIN) {
        return Err(DbErr::Custom(format!(
            "SQLite {version} is older than {SQLITE_MIN}, which mends a bug that corrupts WAL databases"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlite_that_corrupts_is_refused() {
        for version in ["3.51.3", "3.51.10", "3.100.0", "4.0.0"] {
            assert!(refuse_old(version).is_ok(), "{version}");
        }
        for version in ["3.51.2", "3.9.3", "2.99.99", ""] {
            assert!(refuse_old(version).is_err(), "{version}");
        }
    }
}
