//! The table of “this was not me” links.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    integer, pk_uuid, string, string_uniq, timestamp_with_time_zone as time,
    timestamp_with_time_zone_null as time_null, uuid,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let belongs_to_user = ForeignKey::create()
            .name("not_me_links_user_id")
            .from("not_me_links", "user_id")
            .to("users", "id")
            .on_delete(ForeignKeyAction::Cascade)
            .take();
        let table = Table::create()
            .table("not_me_links")
            .col(pk_uuid("id"))
            .col(uuid("user_id"))
            .col(string_uniq("token_digest"))
            .col(string("email_at_issue"))
            .col(uuid("session_id"))
            .col(uuid("act_id"))
            .col(string("about"))
            .col(integer("times"))
            .col(time("at"))
            .col(string("ip"))
            .col(string("user_agent"))
            .col(time("created_at"))
            .col(time("expires_at"))
            .col(time_null("used_at"))
            .col(integer("ended").default(0))
            .foreign_key(&mut belongs_to_user.clone())
            .take();
        manager.create_table(table).await?;
        for column in ["user_id", "expires_at"] {
            let name = format!("not_me_links_by_{column}");
            manager.create_index(Index::create().name(name).table("not_me_links").col(column).take()).await?;
        }
        Ok(())
    }
}
