//! The table of apps: the applications that an operator has registered.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    boolean, json, pk_uuid, string, string_null, string_uniq, timestamp_with_time_zone as time,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("apps")
            .col(pk_uuid("id"))
            .col(string("name"))
            .col(string_uniq("name_canonical"))
            .col(json("redirect_uris"))
            .col(json("logout_uris"))
            .col(boolean("public"))
            .col(boolean("trusted"))
            .col(boolean("pkce"))
            .col(string("algorithm"))
            .col(string_null("secret_digest"))
            .col(string_null("old_secret_digest"))
            .col(time("created_at"))
            .take();
        manager.create_table(table).await
    }
}
