//! Public keys of apps, and the tokens by which apps have shown who they are.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{json_null, string, timestamp_with_time_zone as time};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("apps").add_column(json_null("key_set")).take()).await?;
        let table = Table::create().table("assertions").col(string("id").primary_key()).col(time("expires_at")).take();
        manager.create_table(table).await?;
        let index = Index::create().name("assertions_by_expires_at").table("assertions").col("expires_at").take();
        manager.create_index(index).await
    }
}
