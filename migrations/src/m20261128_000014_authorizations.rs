//! The tables of what users let apps see, and of the codes and tokens that apps have got.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    integer, pk_uuid, string, string_null, string_uniq, timestamp_with_time_zone as time,
    timestamp_with_time_zone_null as time_null, uuid,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

/// Rows that end with the row that they belong to. The previous release gives a session another id.
fn belongs_to(table: &str, column: &str, owner: &str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("{table}_{column}"))
        .from(table.to_owned(), column.to_owned())
        .to(owner.to_owned(), "id")
        .on_delete(ForeignKeyAction::Cascade)
        .on_update(ForeignKeyAction::Cascade)
        .take()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let grants = Table::create()
            .table("grants")
            .col(pk_uuid("id"))
            .col(uuid("user_id"))
            .col(uuid("app_id"))
            .col(string("scopes"))
            .col(time("created_at"))
            .col(time("last_used_at"))
            .foreign_key(&mut belongs_to("grants", "user_id", "users"))
            .foreign_key(&mut belongs_to("grants", "app_id", "apps"))
            .take();
        manager.create_table(grants).await?;
        let once = Index::create().name("grants_by_user").table("grants").col("user_id").col("app_id").unique().take();
        manager.create_index(once).await?;

        let authorizations = Table::create()
            .table("authorizations")
            .col(pk_uuid("id"))
            .col(uuid("user_id"))
            .col(uuid("app_id"))
            .col(uuid("session_id"))
            .col(string("scopes"))
            .col(string("redirect_uri"))
            .col(string_null("nonce"))
            .col(string_null("code_challenge"))
            .col(string_uniq("code_digest"))
            .col(time("created_at"))
            .col(time_null("code_used_at"))
            .col(integer("refreshes").default(0))
            .col(time("last_used_at"))
            .foreign_key(&mut belongs_to("authorizations", "user_id", "users"))
            .foreign_key(&mut belongs_to("authorizations", "app_id", "apps"))
            .foreign_key(&mut belongs_to("authorizations", "session_id", "sessions"))
            .take();
        manager.create_table(authorizations).await?;
        for column in ["user_id", "app_id", "session_id"] {
            let name = format!("authorizations_by_{column}");
            manager.create_index(Index::create().name(name).table("authorizations").col(column).take()).await?;
        }
        manager.create_index(Index::create().name("grants_by_app_id").table("grants").col("app_id").take()).await
    }
}
