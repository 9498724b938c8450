//! On PostgreSQL, triggers that tell all servers when a user or a session of a user changes or is deleted. A server keeps copies
//! of these rows. What makes no copy untrue is not told: a session was seen again, and so lasts longer.
//!
//! A SQLite file has one server, whose connection has such triggers of its own.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// The argument of a trigger is the column with the id of the user. The triggers also run where others do not, such as for rows
/// that come from another database (`session_replication_role`).
const TRIGGERS: &str = "
CREATE OR REPLACE FUNCTION latchkey_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('latchkey', 'changed ' || CASE TG_OP WHEN 'TRUNCATE' THEN 'all' ELSE to_jsonb(OLD) ->> TG_ARGV[0] END);
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
CREATE TRIGGER latchkey_emptied AFTER TRUNCATE ON users FOR EACH STATEMENT EXECUTE FUNCTION latchkey_changed();
CREATE TRIGGER latchkey_emptied AFTER TRUNCATE ON sessions FOR EACH STATEMENT EXECUTE FUNCTION latchkey_changed();
ALTER TABLE users ENABLE ALWAYS TRIGGER latchkey_changed, ENABLE ALWAYS TRIGGER latchkey_emptied;
ALTER TABLE sessions ENABLE ALWAYS TRIGGER latchkey_changed, ENABLE ALWAYS TRIGGER latchkey_deleted,
    ENABLE ALWAYS TRIGGER latchkey_emptied;
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
