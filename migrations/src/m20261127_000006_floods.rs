//! The priority of emails, and the index that the outbox needs for their order.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::integer;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Existing rows go last, and so do rows of an older program that does not know the column.
        let priority = integer("priority").default(3).take();
        manager.alter_table(Table::alter().table("outbox").add_column(priority).take()).await?;
        let mut index = Index::create().name("outbox_by_state_priority_next_attempt_at_id").table("outbox").take();
        for column in ["state", "priority", "next_attempt_at", "id"] {
            index.col(column);
        }
        manager.create_index(index).await
    }
}
