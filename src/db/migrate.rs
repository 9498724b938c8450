//! The tables of this program's version, and what it does with those of another one.
//!
//! Steps add to the tables and take nothing away, so that version N goes on working while version N+1 has changed the
//! database, and can be started again. A step that breaks this has `_breaking_` in its name.

use migrations::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use tracing::warn;

use super::{Alone, Db};

/// The mark of a step after which an older program must not use the database.
const BREAKING: &str = "_breaking_";

impl Db {
    /// Brings the tables up to this program's version. It is safe to call at every start, in any number of processes at once.
    ///
    /// All steps are one transaction, and only one process at a time is in it. Otherwise two processes that find an empty
    /// database would both create the first table ([`Db::begin_alone`]). If there is nothing to do, this only reads, so that a
    /// command need not wait for a server that writes.
    ///
    /// # Errors
    /// If a step fails. The database is as before then.
    pub async fn migrate(&self) -> Result<(), DbErr> {
        if self.is_up_to_date().await? {
            return Ok(());
        }
        let tx = self.begin_alone(Alone::Migrating).await?;
        if tx.get_database_backend() == DbBackend::Postgres {
            // A step that waits for a table makes every request to the table wait behind it, on all servers. A backup that
            // reads the table for minutes would stop the site. The service manager starts this server again.
            tx.execute_unprepared("SET LOCAL lock_timeout = '2s'").await?;
        }
        // A newer program may have been faster.
        if !self.is_up_to_date().await? {
            Migrator::up(&tx, None).await?;
        }
        tx.commit().await
    }

    /// Returns whether the tables have all that this program's version needs. Reads only.
    ///
    /// # Errors
    /// If a newer program has changed the tables so that this one must not use them.
    pub async fn is_up_to_date(&self) -> Result<bool, DbErr> {
        match Migrator::get_pending_migrations_read_only(&self.read).await {
            Ok(pending) => Ok(pending.is_empty()),
            Err(DbErr::Custom(why)) => self.is_ahead(why).await,
            Err(why) => Err(why),
        }
    }

    /// Takes a database with steps that this program does not know, if they only add to what it knows. `why` is the library's
    /// reason to refuse it.
    async fn is_ahead(&self, why: String) -> Result<bool, DbErr> {
        let known: Vec<String> = Migrator::get_migration_files().iter().map(|step| step.name().to_owned()).collect();
        let applied = Migrator::get_migration_models(&self.read).await?;
        let applied: Vec<String> = applied.into_iter().map(|step| step.version).collect();
        let newer: Vec<&String> = applied.iter().filter(|step| !known.contains(step)).collect();
        let Some(newest) = newer.last() else { return Err(DbErr::Custom(why)) };
        if let Some(step) = newer.iter().find(|step| step.contains(BREAKING)) {
            return Err(DbErr::Custom(format!(
                "a newer Latchkey has changed this database (step {step}) so that this one cannot use it; run the newer one, or \
                 restore a backup from before"
            )));
        }
        if let Some(missing) = known.iter().find(|step| !applied.contains(step)) {
            return Err(DbErr::Custom(format!(
                "another Latchkey has changed this database (step {newest}), and it lacks a step of this one ({missing}); run the \
                 newest of the two"
            )));
        }
        warn!(
            "a newer Latchkey has changed this database (step {newest}); this one goes on with it, because the change only adds"
        );
        Ok(true)
    }
}
