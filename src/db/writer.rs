//! Statements that write: single ones, and those of a transaction.
//!
//! Both know when a statement ends or changes what is known of a user. Then they return when all nodes have heard of the
//! commit ([`Changes`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement,
};

use super::changes::{Changes, is_told};

/// The connections for single statements that write. Each statement commits by itself, and what returns `Ok` is committed.
#[derive(Clone, Debug)]
pub struct Writer {
    pub(super) pool: DatabaseConnection,
    pub(super) changes: Arc<Changes>,
}

impl Writer {
    async fn tell(&self, told: bool) {
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
        let told = is_told(&statement.sql);
        let done = self.pool.execute_raw(statement).await?;
        self.tell(told && done.rows_affected() > 0).await;
        Ok(done)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let done = self.pool.execute_unprepared(sql).await?;
        self.tell(is_told(sql)).await;
        Ok(done)
    }

    /// Reads to the end. SQLite commits an `INSERT … RETURNING` after its last row. The library returns with the first one,
    /// and throws away the error of a commit that fails because the disk is full.
    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.query_all_raw(statement).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let told = is_told(&statement.sql);
        let rows = self.pool.query_all_raw(statement).await?;
        self.tell(told && !rows.is_empty()).await;
        Ok(rows)
    }
}

/// A transaction that writes. Dropped without [`Transaction::commit`], it changes nothing.
#[derive(Debug)]
pub struct Transaction {
    pub(super) tx: DatabaseTransaction,
    pub(super) changes: Arc<Changes>,
    pub(super) told: AtomicBool,
}

impl Transaction {
    /// Commits, and waits until no server shows what was true before.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.tx.commit().await?;
        if self.told.into_inner() {
            self.changes.reach_all().await;
        }
        Ok(())
    }

    /// Changes nothing.
    pub async fn rollback(self) -> Result<(), DbErr> {
        self.tx.rollback().await
    }

    fn note(&self, told: bool) {
        self.told.fetch_or(told, Relaxed);
    }
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.tx.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let told = is_told(&statement.sql);
        let done = self.tx.execute_raw(statement).await?;
        self.note(told && done.rows_affected() > 0);
        Ok(done)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.note(is_told(sql));
        self.tx.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let told = is_told(&statement.sql);
        let row = self.tx.query_one_raw(statement).await?;
        self.note(told && row.is_some());
        Ok(row)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let told = is_told(&statement.sql);
        let rows = self.tx.query_all_raw(statement).await?;
        self.note(told && !rows.is_empty());
        Ok(rows)
    }
}
