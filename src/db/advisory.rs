//! PostgreSQL's advisory locks: which node does what only one may do at a time. Other programs in the same database must
//! not use these keys.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};

use super::Db;

/// What only one node does at a time. The keys are eight letters as a number.
#[derive(Clone, Copy, Debug)]
#[repr(i64)]
pub enum Alone {
    /// Bringing the tables up to date.
    Migrating = i64::from_be_bytes(*b"latchkey"),
    /// Deleting expired rows.
    Sweeping = i64::from_be_bytes(*b"latchswp"),
    /// Making key pairs.
    MakingKeys = i64::from_be_bytes(*b"latchjwk"),
    /// Making a scheduled backup.
    BackingUp = i64::from_be_bytes(*b"latchbak"),
}

/// A lock that ends when the value is dropped, or with the process.
pub struct Lock {
    _tx: Option<DatabaseTransaction>,
}

/// Waits for the lock, which ends with the transaction. SQLite has one writer at a time and needs none.
pub(super) async fn lock(tx: &DatabaseTransaction, what: Alone) -> Result<(), DbErr> {
    if tx.get_database_backend() == DbBackend::Postgres {
        let lock = format!("SELECT pg_advisory_xact_lock({})", what as i64);
        tx.execute_raw(Statement::from_string(DbBackend::Postgres, lock)).await?;
    }
    Ok(())
}

/// Takes the lock until the transaction ends. Returns `false` if another node has it. A SQLite file has one server.
pub(super) async fn try_lock(tx: &DatabaseTransaction, what: Alone) -> Result<bool, DbErr> {
    if tx.get_database_backend() != DbBackend::Postgres {
        return Ok(true);
    }
    let ask = format!("SELECT pg_try_advisory_xact_lock({})", what as i64);
    let row = tx.query_one_raw(Statement::from_string(DbBackend::Postgres, ask)).await?;
    row.map_or(Ok(false), |row| row.try_get_by_index(0))
}

impl Db {
    /// Takes the lock, or returns `None` if another node has it. A SQLite file has one server.
    ///
    /// The lock belongs to a transaction and not to a connection: behind PgBouncer, two transactions may have different ones.
    pub async fn try_lock(&self, what: Alone) -> Result<Option<Lock>, DbErr> {
        if self.write.get_database_backend() == DbBackend::Sqlite {
            return Ok(Some(Lock { _tx: None }));
        }
        let tx = self.write.begin_plain().await?;
        let ours = try_lock(&tx, what).await?;
        Ok(ours.then_some(Lock { _tx: Some(tx) }))
    }
}
