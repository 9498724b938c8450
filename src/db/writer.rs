//! Statements that write: single ones, and those of a transaction.
//!
//! Both know when a statement ends or changes what is known of a user. Then they return when no server shows what was true
//! before ([`Changes`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult,
    SqliteTransactionMode, Statement, TransactionOptions,
};

use super::changes::postgres::FLUSH;
use super::changes::{Changes, is_told};

/// The connections for single statements that write. Each statement commits by itself, and what returns `Ok` is committed.
#[derive(Clone, Debug)]
pub struct Writer {
    pub(super) pool: DatabaseConnection,
    pub(super) changes: Arc<Changes>,
}

impl Writer {
    fn on_postgres(&self) -> bool {
        self.pool.get_database_backend() == DbBackend::Postgres
    }

    /// See [`Db::begin`](super::Db::begin).
    pub(super) async fn begin(&self) -> Result<Transaction, DbErr> {
        Ok(Transaction { tx: self.begin_plain().await?, writer: self.clone(), told: false.into() })
    }

    /// Begins a transaction that tells no other server what it changes.
    pub(super) async fn begin_plain(&self) -> Result<DatabaseTransaction, DbErr> {
        let options = TransactionOptions {
            sqlite_transaction_mode: (!self.on_postgres()).then_some(SqliteTransactionMode::Immediate),
            ..Default::default()
        };
        super::begin(&self.pool, options).await
    }

    /// Begins a transaction for a single statement, if its commit is not like others ([`Transaction::commit`]).
    async fn begin_if_told(&self, sql: &str) -> Result<Option<Transaction>, DbErr> {
        if self.on_postgres() && is_told(sql) { self.begin().await.map(Some) } else { Ok(None) }
    }

    async fn told(&self, told: bool) {
        if told {
            self.changes.reach_all().await;
        }
    }
}

#[async_trait]
impl ConnectionTrait for Writer {
    fn get_database_backend(&self) -> DbBackend {
        self.pool.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        if let Some(tx) = self.begin_if_told(&statement.sql).await? {
            let done = tx.execute_raw(statement).await?;
            tx.commit().await?;
            return Ok(done);
        }
        let told = is_told(&statement.sql);
        let done = self.pool.execute_raw(statement).await?;
        self.told(told).await;
        Ok(done)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let done = self.pool.execute_unprepared(sql).await?;
        self.told(is_told(sql)).await;
        Ok(done)
    }

    /// Reads to the end. SQLite commits an `INSERT … RETURNING` after its last row. The library returns with the first one,
    /// and throws away the error of a commit that fails because the disk is full.
    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.query_all_raw(statement).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        if let Some(tx) = self.begin_if_told(&statement.sql).await? {
            let rows = tx.query_all_raw(statement).await?;
            tx.commit().await?;
            return Ok(rows);
        }
        let told = is_told(&statement.sql);
        let rows = self.pool.query_all_raw(statement).await?;
        self.told(told).await;
        Ok(rows)
    }
}

/// A transaction that writes. Dropped without [`Transaction::commit`], it changes nothing.
#[derive(Debug)]
pub struct Transaction {
    tx: DatabaseTransaction,
    writer: Writer,
    told: AtomicBool,
}

impl Transaction {
    /// Commits. If a statement was told to other servers, it returns when none shows what was true before.
    ///
    /// On PostgreSQL a trigger notifies then. From the notification to the end of the commit, a transaction has a lock that there
    /// is once in the whole server, so commits that wait for the disk in it would do so one after the other. This one does not
    /// wait. Afterwards [`FLUSH`] waits for all of them together.
    ///
    /// # Errors
    /// If it was not committed, or is not on the disk.
    pub async fn commit(self) -> Result<(), DbErr> {
        let told = self.told.into_inner();
        let notifies = told && self.writer.on_postgres();
        if notifies {
            self.tx.execute_unprepared("SET LOCAL synchronous_commit = off").await?;
        }
        self.tx.commit().await?;
        if notifies {
            self.writer.pool.execute_unprepared(FLUSH).await?;
        }
        self.writer.told(told).await;
        Ok(())
    }

    /// Changes nothing.
    pub async fn rollback(self) -> Result<(), DbErr> {
        self.tx.rollback().await
    }

    fn note(&self, sql: &str) {
        self.told.fetch_or(is_told(sql), Relaxed);
    }
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.tx.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.note(&statement.sql);
        self.tx.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.note(sql);
        self.tx.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.note(&statement.sql);
        self.tx.query_one_raw(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.note(&statement.sql);
        self.tx.query_all_raw(statement).await
    }
}
