//! The tables of limits on attempts, of devices that accounts know, and of events.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, integer, pk_uuid, string, timestamp_with_time_zone as time, uuid, uuid_null,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            Table::create()
                .table("limits")
                .col(string("key").primary_key())
                .col(big_integer("whole_at"))
                .col(integer("misses"))
                .take(),
            Table::create()
                .table("devices")
                .col(pk_uuid("id"))
                .col(uuid("user_id"))
                .col(string("token_digest"))
                .col(time("last_seen_at"))
                .foreign_key(&mut belongs_to_user("devices"))
                .take(),
            Table::create()
                .table("events")
                .col(pk_uuid("id"))
                .col(time("at"))
                .col(string("kind"))
                .col(uuid_null("user_id"))
                .col(string("ip"))
                .col(string("user_agent"))
                .col(string("request_id"))
                .foreign_key(&mut belongs_to_user("events"))
                .take(),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        for (table, columns) in [
            ("limits", &["whole_at"][..]),
            ("devices", &["token_digest", "user_id"]),
            ("devices", &["user_id"]),
            ("devices", &["last_seen_at"]),
            ("events", &["user_id", "at"]),
            ("events", &["at"]),
        ] {
            let mut index = Index::create().name(format!("{table}_by_{}", columns.join("_"))).table(table).take();
            for column in columns {
                index.col(*column);
            }
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

fn belongs_to_user(table: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("{table}_user_id"))
        .from(table, "user_id")
        .to("users", "id")
        .on_delete(ForeignKeyAction::Cascade)
        .take()
}
