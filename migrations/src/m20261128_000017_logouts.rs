//! What apps are told when a session ends: a row for each app that had tokens in it. A trigger writes the rows, so they are
//! written however the session ends: by a log-out, by a reset, by its expiry, or with its user.
//!
//! The tokens of an app may go on in another session. Then `authorizations` keeps the id that the app knows, and when the user had
//! logged in.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    boolean, integer, pk_uuid, string_null, timestamp_with_time_zone_null as time_null, uuid, uuid_null,
};
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// An app may be told of a session twice: its access is taken away, and it is let in again.
fn insert(distinct: &str) -> String {
    format!(
        "INSERT INTO logouts (id, app_id, user_id, sid)
         SELECT {distinct} id, app_id, user_id, coalesce(sid, session_id) FROM authorizations
         WHERE session_id = OLD.id AND code_used_at IS NOT NULL
         ON CONFLICT (app_id, sid) DO UPDATE
         SET id = excluded.id, whole = TRUE, seen_at = NULL, done_at = NULL, attempts = 0, next_attempt_at = NULL, last_error = NULL"
    )
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for mut column in [uuid_null("sid"), time_null("authenticated_at")] {
            manager.alter_table(Table::alter().table("authorizations").add_column(&mut column).take()).await?;
        }
        for mut column in [string_null("backchannel_uri"), boolean("backchannel_private").default(false).take()] {
            manager.alter_table(Table::alter().table("apps").add_column(&mut column).take()).await?;
        }
        // No row refers to another table: it outlives the user, and an app may be removed while sessions end.
        let logouts = Table::create()
            .table("logouts")
            .col(pk_uuid("id"))
            .col(uuid("app_id"))
            .col(uuid("user_id"))
            .col(uuid("sid"))
            .col(boolean("whole").default(true))
            .col(time_null("seen_at"))
            .col(time_null("done_at"))
            .col(integer("attempts").default(0))
            .col(time_null("next_attempt_at"))
            .col(string_null("last_error"))
            .take();
        manager.create_table(logouts).await?;
        let once = Index::create().name("logouts_once").table("logouts").col("app_id").col("sid").unique().take();
        manager.create_index(once).await?;
        let seen = Index::create().name("logouts_by_seen_at").table("logouts").col("seen_at").take();
        manager.create_index(seen).await?;
        let next =
            Index::create().name("logouts_by_done_at").table("logouts").col("done_at").col("next_attempt_at").take();
        manager.create_index(next).await?;
        let trigger = match manager.get_database_backend() {
            DbBackend::Postgres => format!(
                "CREATE OR REPLACE FUNCTION latchkey_session_ends() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN
                     -- A code that is being redeemed at this moment counts: its app gets tokens that end now.
                     PERFORM 1 FROM authorizations WHERE session_id = OLD.id FOR UPDATE;
                     {};
                     RETURN OLD;
                 END
                 $$;
                 CREATE TRIGGER latchkey_session_ends BEFORE DELETE ON sessions
                     FOR EACH ROW EXECUTE FUNCTION latchkey_session_ends();",
                // One statement changes no row twice there.
                insert("DISTINCT ON (app_id, coalesce(sid, session_id))")
            ),
            _ => format!("CREATE TRIGGER latchkey_session_ends BEFORE DELETE ON sessions BEGIN {}; END", insert("")),
        };
        manager.get_connection().execute_unprepared(&trigger).await.map(drop)
    }
}
