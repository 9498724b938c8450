//! The heartbeat: with PostgreSQL, each node tells the others that it is there, and learns how many there are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::app::App;
use crate::clock::APART;
use crate::db::within;
use crate::nodes::Beat;
use crate::notice::Notice;

/// How often a node says that it is there.
const EVERY: Duration = Duration::from_secs(5);
/// How long the database may take for each part of a beat.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says again and again that this node is there.
pub async fn run(app: Arc<App>) {
    loop {
        tokio::time::sleep(EVERY).await;
        beat(&app).await;
    }
}

/// Says once that this node is there, divides the limits among all nodes, and deletes answers to forms that have expired.
/// When the database is out of reach, all stays as it is.
pub async fn beat(app: &App) {
    let Some(node) = &app.node else { return };
    match within(PATIENCE, node.beat(app.now())).await {
        Ok(beat) => take(app, beat),
        Err(why) => debug!(%why, "this node cannot say that it is there"),
    }
    if let Some(replays) = &app.replays
        && let Err(why) = within(PATIENCE, replays.sweep()).await
    {
        debug!(%why, "answers to forms cannot be deleted");
    }
}

fn take(app: &App, beat: Beat) {
    static SKEWED: Notice = Notice::new();
    app.accounts.limits.divide_among(beat.nodes);
    app.metrics.nodes.set(beat.nodes.into());
    let ahead = beat.database_ahead.whole_seconds();
    if beat.database_ahead.unsigned_abs() > APART && SKEWED.count(Instant::now()).is_some() {
        warn!(
            "the clock of this machine is {} seconds {} that of the database: let both keep time by NTP",
            ahead.abs(),
            if ahead > 0 { "behind" } else { "ahead of" }
        );
    }
}
