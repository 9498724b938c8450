//! The table of the key pairs that sign the tokens of apps.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{json, string, timestamp_with_time_zone as time};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("signing_keys")
            .col(string("id").primary_key())
            .col(string("algorithm"))
            .col(json("public_key"))
            .col(string("sealed_key"))
            .col(time("created_at"))
            .col(time("signs_from"))
            .take();
        manager.create_table(table).await
    }
}
