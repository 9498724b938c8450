//! The sweeper: it deletes expired rows. Every query looks at the time, so these rows have no effect any more.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{EnumIter, Iterable};
use tracing::{Instrument, error_span, info, warn};

use crate::accounts::authorize::pushed;
use crate::accounts::link::{not_me_link, pending_signup, reset_token};
use crate::accounts::session::{self, device};
use crate::accounts::{Fault, assertion, event, limit, logout, outbox};
use crate::app::App;
use crate::db::{Alone, within};
use crate::visit_store;

/// How often the sweeper runs.
const EVERY: Duration = Duration::from_secs(15 * 60);

/// The tables of the database, by their names. A test compares the list with the migrated database, and [`sweep`] has to
/// say for each table when its rows are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter)]
enum Table {
    Users,
    Sessions,
    ResetTokens,
    NotMeLinks,
    PendingSignups,
    Outbox,
    Devices,
    Limits,
    Events,
    Visits,
    Nodes,
    Replays,
    Apps,
    SigningKeys,
    Grants,
    Authorizations,
    Logouts,
    PushedRequests,
    Assertions,
}

/// Sweeps every table again and again, without end.
pub async fn run(app: Arc<App>) {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        let sweeping = async {
            // A sweep that took longer goes on where it was: it deletes in batches.
            if let Err(fault) = within(EVERY, sweep(&app)).await {
                warn!(%fault, "failed; trying again later");
            }
        };
        sweeping.instrument(error_span!("sweep")).await;
    }
}

/// Sweeps every table, unless another node does it at this moment: two that delete the same rows could wait for each other.
/// Each node sweeps in its own time, and finds little to do after another one.
async fn sweep(app: &App) -> Result<(), Fault> {
    let (db, conn, now) = (&app.db, app.db.write(), app.now());
    app.accounts.limits.clients.sweep(now);
    let Some(_lock) = db.try_lock(Alone::Sweeping).await? else { return Ok(()) };
    let events_kept = app.settings.event_retention;
    let (mut sessions, mut links, mut letters, mut visits, mut events) = (0, 0, 0, 0, 0);
    let (mut limits, mut devices) = (0, 0);
    for table in Table::iter() {
        match table {
            Table::Users => {} // an account stays until its owner or the operator deletes it
            Table::Sessions => sessions += session::sweep(conn, now).await?,
            Table::ResetTokens => links += reset_token::sweep(conn, now).await?,
            Table::NotMeLinks => links += not_me_link::sweep(conn, now).await?,
            Table::PendingSignups => links += pending_signup::sweep(conn, now).await?,
            Table::Outbox => letters += outbox::sweep(db, now).await?,
            Table::Devices => devices += device::sweep(conn, now).await?,
            Table::Limits => limits += limit::accounts::sweep(db, now).await?,
            Table::Events => events += event::sweep(conn, events_kept, now).await?,
            Table::Visits => visits += visit_store::sweep(db, now).await?,
            Table::Apps => {} // the operator removes them
            // The next one is made, and the oldest deleted, when another takes over.
            Table::SigningKeys => {}
            Table::Grants => {}         // until the user takes them back
            Table::Authorizations => {} // they end with their sessions
            Table::Logouts => sessions += logout::sweep(conn, now).await?,
            Table::PushedRequests => sessions += pushed::sweep(conn, now).await?,
            Table::Assertions => sessions += assertion::sweep(conn, now).await?,
            Table::Nodes | Table::Replays => {} // the heartbeat deletes them; on SQLite there are none
        }
    }
    if sessions + links + letters + visits + events + limits + devices > 0 {
        info!(sessions, links, letters, visits, events, limits, devices, "done");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sea_orm::{ConnectionTrait, DbBackend, Statement};

    use super::*;
    use crate::db::{DatabaseUrl, Db};

    #[tokio::test]
    async fn the_sweeper_knows_every_table() {
        let folder = tempfile::tempdir().expect("a folder");
        let db =
            Db::open(&DatabaseUrl::of_file(&folder.path().join("test.db")).expect("a path")).await.expect("a database");
        db.migrate().await.expect("its tables");
        let names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'seaql_migrations'";
        let rows =
            db.read().query_all_raw(Statement::from_string(DbBackend::Sqlite, names)).await.expect("their names");
        let names: Vec<String> = rows.iter().map(|row| row.try_get("", "name").expect("a name")).collect();
        let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
        let tables: BTreeSet<String> = names.iter().map(|name| name.split('_').map(capital).collect()).collect();
        let known: BTreeSet<String> = Table::iter().map(|table| format!("{table:?}")).collect();
        assert_eq!(known, tables, "the sweeper's tables and those of the migrated database");
    }
}
