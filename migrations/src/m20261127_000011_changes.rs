//! On PostgreSQL, triggers that tell all servers when a user or a session of a user changes or is deleted. A server keeps copies
//! of these rows. What makes no copy untrue is not told: a session was seen again, and so lasts longer.
//!
//! A SQLite file has one server, whose connection has such triggers of its own.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// The argument of a trigger is the column with the id of the user.
const TRIGGERS: &str = "
CREATE OR REPLACE FUNCTION latchkey_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('latchkey', 'changed ' || (to_jsonb(OLD) ->> TG_ARGV[0]));
    RETURN NULL;
END
$$;
CREATE TRIGGER latchkey_changed AFTER UPDATE OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION latchkey_changed('id');
CREATE TRIGGER latchkey_deleted AFTER DELETE ON sessions
    FOR EACH ROW EXECUTE FUNCTION latchkey_changed('user_id');
CREATE TRIGGER latchkey_changed AFTER UPDATE ON sessions
    FOR EACH ROW WHEN (
        (OLD.id, OLD.user_id, OLD.kind, OLD.remember) IS DISTINCT FROM (NEW.id, NEW.user_id, NEW.kind, NEW.remember)
        OR NEW.expires_at < OLD.expires_at
    ) EXECUTE FUNCTION latchkey_changed('user_id');
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            manager.get_connection().execute_unprepared(TRIGGERS).await?;
        }
        Ok(())
    }
}
