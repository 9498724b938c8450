//! The tables of users, their sessions and links, emails to send, and visits of browsers.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    boolean, integer, json, pk_uuid, string, string_null, string_uniq, text, text_null,
    timestamp_with_time_zone as time, timestamp_with_time_zone_null as time_null, uuid,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// The step is one transaction: a first start that dies half-way must not leave tables that the next start fails on.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            Table::create()
                .table("users")
                .col(pk_uuid("id"))
                .col(string("email"))
                .col(string_uniq("email_canonical"))
                .col(string("username"))
                .col(string_uniq("username_canonical"))
                .col(string("full_name"))
                .col(string("hashed_password"))
                .col(time("created_at"))
                .col(time("updated_at"))
                .take(),
            Table::create()
                .table("sessions")
                .col(pk_uuid("id"))
                .col(uuid("user_id"))
                .col(time("created_at"))
                .col(time("authenticated_at"))
                .col(time("last_seen_at"))
                .col(time("expires_at"))
                .col(boolean("remember"))
                .col(string("ip"))
                .col(string("user_agent"))
                .foreign_key(&mut belongs_to_user("sessions"))
                .take(),
            Table::create()
                .table("reset_tokens")
                .col(pk_uuid("id"))
                .col(uuid("user_id"))
                .col(string_uniq("token_digest"))
                .col(string("email_at_issue"))
                .col(time("created_at"))
                .col(time("expires_at"))
                .col(time_null("used_at"))
                .foreign_key(&mut belongs_to_user("reset_tokens"))
                .take(),
            Table::create()
                .table("pending_signups")
                .col(pk_uuid("id"))
                .col(string_null("token_digest").unique_key())
                .col(string("email"))
                .col(string("email_canonical"))
                .col(string("username"))
                .col(string("username_canonical"))
                .col(string("full_name"))
                .col(string("hashed_password"))
                .col(time("created_at"))
                .col(time("expires_at"))
                .take(),
            Table::create()
                .table("outbox")
                .col(pk_uuid("id"))
                .col(string("letter"))
                .col(json("data"))
                .col(string("to_address"))
                .col(string("locale"))
                .col(string("state"))
                .col(integer("attempts"))
                .col(time("next_attempt_at"))
                .col(time_null("leased_until"))
                .col(time("deadline"))
                .col(text_null("last_error"))
                .col(time("created_at"))
                .col(time_null("sent_at"))
                .take(),
            Table::create()
                .table("visits")
                .col(string("id").primary_key())
                .col(text("data"))
                .col(time("expires_at"))
                .take(),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }

        // The indexes for look-ups, and for the sweeper.
        for (table, columns) in [
            ("sessions", &["user_id"][..]),
            ("sessions", &["expires_at"]),
            ("reset_tokens", &["user_id"]),
            ("reset_tokens", &["expires_at"]),
            ("pending_signups", &["email_canonical"]),
            ("pending_signups", &["expires_at"]),
            ("outbox", &["state", "next_attempt_at"]),
            ("visits", &["expires_at"]),
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
