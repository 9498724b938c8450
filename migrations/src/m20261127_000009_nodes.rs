//! The tables of the servers that share a PostgreSQL database, and of the forms that they answer.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{binary_null, pk_uuid, string, timestamp_with_time_zone as time, uuid};
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let nodes =
            Table::create().table("nodes").col(pk_uuid("id")).col(string("version")).col(time("seen_at")).take();
        manager.create_table(nodes).await?;
        let replays = Table::create()
            .table("replays")
            .col(string("key").primary_key())
            .col(uuid("worker"))
            .col(binary_null("response"))
            .col(time("expires_at"))
            .take();
        manager.create_table(replays).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            // Its rows live for seconds, so a crash may empty it. A write need not wait for the disk then, and no row
            // comes into a backup or an archive of the write-ahead log.
            manager.get_connection().execute_unprepared("ALTER TABLE replays SET UNLOGGED").await?;
        }
        Ok(())
    }
}
