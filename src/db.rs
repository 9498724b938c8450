//! The database: opened once, with the settings that keep SQLite honest, and handed to the verbs.

use std::time::Duration;

use migrations::{Migrator, MigratorTrait};
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};

/// Connections for reading and for writing: the same pool on PostgreSQL, one writer and several readers
/// on SQLite, where a second writer could only wait for the first.
#[derive(Clone, Debug)]
pub struct Db {
    read: DatabaseConnection,
    write: DatabaseConnection,
}

impl Db {
    /// Before 3.51.3, a checkpoint that ran into a second connection could corrupt a WAL database.
    const SQLITE_MIN: &str = "3.51.3";

    /// Connects to `sqlite://FILE` or `postgres://…`, making the SQLite file when there is none.
    ///
    /// # Errors
    /// When the database cannot be reached, or the SQLite inside this program is too old.
    pub async fn open(url: &str) -> Result<Self, DbErr> {
        let mut options = ConnectOptions::new(url);
        options.sqlx_logging(false).acquire_timeout(Duration::from_secs(10));
        if !url.starts_with("sqlite:") {
            let pool = Database::connect(options.max_connections(16).to_owned()).await?;
            return Ok(Self { read: pool.clone(), write: pool });
        }

        options.map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(Duration::from_secs(5))
                .foreign_keys(true)
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
        let version: String = row.ok_or(DbErr::RecordNotFound("sqlite_version()".into()))?.try_get("", "version")?;
        let number = |text: &str| -> Vec<u32> { text.split('.').filter_map(|part| part.parse().ok()).collect() };
        if number(&version) < number(Self::SQLITE_MIN) {
            return Err(DbErr::Custom(format!(
                "SQLite {version} is older than {}, which mends a bug that corrupts WAL databases",
                Self::SQLITE_MIN
            )));
        }
        Ok(())
    }

    /// Brings the tables up to this program's version. Safe to call at every start.
    ///
    /// # Errors
    /// When a step fails; the steps before it stay.
    pub async fn migrate(&self) -> Result<(), DbErr> {
        Migrator::up(&self.write, None).await
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

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.read.ping().await?;
        self.write.ping().await
    }
}
