//! The whole database at once: how all of it is read as of one moment, and how a new one is filled.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use migrations::{Migrator, MigratorTrait};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    AccessMode, ConnectOptions, ConnectionTrait, Database, DatabaseTransaction, DbBackend, DbErr, IsolationLevel,
    Statement, TransactionOptions,
};

use super::advisory::{self, Alone};
use super::{APPLICATION, DatabaseUrl, Db};

/// How much of a new file SQLite keeps in memory, in KiB. The indexes of a million users must not be written again and again.
const CACHE: &str = "-65536";

impl Db {
    /// Opens a SQLite file to read it only. Nothing is written beside it, as long as it is not in WAL mode.
    ///
    /// # Errors
    /// If there is no such file, or if it cannot be read.
    pub async fn open_read_only(file: &Path) -> Result<Self, DbErr> {
        Self::open_one(file, |sqlite| sqlite.read_only(true)).await
    }

    /// Opens a new SQLite file that no other process knows yet. SQLite writes no journal beside it and does not wait for the
    /// disk: the caller brings the whole file to the disk, or deletes it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn open_new(file: &Path) -> Result<Self, DbErr> {
        let fast = |sqlite: SqliteConnectOptions| {
            let sqlite = sqlite.journal_mode(SqliteJournalMode::Memory).synchronous(SqliteSynchronous::Off);
            sqlite.pragma("cache_size", CACHE).foreign_keys(true)
        };
        Self::open_one(file, fast).await
    }

    /// Opens a file with one connection, which reads and writes.
    async fn open_one(
        file: &Path,
        with: impl Fn(SqliteConnectOptions) -> SqliteConnectOptions + Send + Sync + 'static,
    ) -> Result<Self, DbErr> {
        let url = DatabaseUrl::of_file(file).map_err(|why| DbErr::Custom(why.to_string()))?;
        let mut options = ConnectOptions::new(url.reveal());
        options.sqlx_logging(false).acquire_timeout(Duration::from_secs(10)).map_sqlx_sqlite_opts(with);
        options.idle_timeout(None::<Duration>).max_lifetime(None::<Duration>).max_connections(1);
        let one = Database::connect(options).await?;
        Ok(Self::of(one.clone(), one, Arc::default()))
    }

    /// Begins a transaction that sees the whole database as it is now, whatever others write meanwhile. It only reads, and it
    /// keeps no other process from writing.
    pub async fn begin_reading(&self) -> Result<DatabaseTransaction, DbErr> {
        let options = match self.read.get_database_backend() {
            DbBackend::Postgres => TransactionOptions {
                isolation_level: Some(IsolationLevel::RepeatableRead),
                access_mode: Some(AccessMode::ReadOnly),
                ..Default::default()
            },
            // A transaction of SQLite sees one state of the database from its first SELECT on.
            _ => TransactionOptions::default(),
        };
        super::begin(&self.read, options).await
    }

    /// Begins a transaction in which only one process at a time does this. SQLite takes its write lock when a transaction
    /// begins. PostgreSQL has an advisory lock, which ends with the transaction, also if the process dies in it.
    pub async fn begin_alone(&self, what: Alone) -> Result<DatabaseTransaction, DbErr> {
        let tx = self.write.begin_plain().await?;
        if tx.get_database_backend() == DbBackend::Postgres {
            // A node that hangs with the lock, or another program that has it, must not keep this one waiting without a word.
            tx.execute_unprepared("SET LOCAL lock_timeout = '30s'").await?;
        }
        advisory::lock(&tx, what).await?;
        Ok(tx)
    }

    /// Returns the name of the step that [`Db::migrate`] will do first, or `None` if there is nothing to do or nothing to
    /// lose: a new database has no tables.
    pub async fn next_step(&self) -> Result<Option<String>, DbErr> {
        if Migrator::get_applied_migrations_read_only(&self.read).await.is_ok_and(|applied| applied.is_empty()) {
            return Ok(None);
        }
        // What is wrong with the tables is the migration's to say.
        let pending = Migrator::get_pending_migrations_read_only(&self.read).await.unwrap_or_default();
        Ok(pending.first().map(|step| step.name().to_owned()))
    }
}

/// Returns whether another connection of a Latchkey to this PostgreSQL database is open, such as a server's. Whether a server
/// uses a SQLite file is said by its lock ([`Db::lock`]).
pub async fn is_in_use(conn: &impl ConnectionTrait) -> Result<bool, DbErr> {
    if conn.get_database_backend() != DbBackend::Postgres {
        return Ok(false);
    }
    let ask = "SELECT pid FROM pg_stat_activity \
               WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid()";
    let ask = Statement::from_sql_and_values(DbBackend::Postgres, ask, [APPLICATION.into()]);
    Ok(conn.query_one_raw(ask).await?.is_some())
}

/// Takes the turn of the one process that makes a scheduled backup, until the transaction ends. Returns whether it is ours.
/// A SQLite file has one server only.
pub async fn take_backup_turn(reading: &DatabaseTransaction) -> Result<bool, DbErr> {
    advisory::try_lock(reading, Alone::BackingUp).await
}
