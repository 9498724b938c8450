//! Authorization requests that apps have sent ahead of their users.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{pk_uuid, string, string_uniq, timestamp_with_time_zone as time, uuid};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let of_app = ForeignKey::create()
            .name("pushed_requests_app_id")
            .from("pushed_requests", "app_id")
            .to("apps", "id")
            .on_delete(ForeignKeyAction::Cascade)
            .take();
        let table = Table::create()
            .table("pushed_requests")
            .col(pk_uuid("id"))
            .col(uuid("app_id"))
            .col(string_uniq("uri_digest"))
            .col(string("parameters"))
            .col(time("expires_at"))
            .foreign_key(&mut of_app.clone())
            .take();
        manager.create_table(table).await?;
        for column in ["app_id", "expires_at"] {
            let name = format!("pushed_requests_by_{column}");
            manager.create_index(Index::create().name(name).table("pushed_requests").col(column).take()).await?;
        }
        Ok(())
    }
}
