//! The port for Prometheus. It has no password, as is usual, and its numbers are not for everybody: whoever asks for a
//! reset and then looks whether a letter was sent or dropped knows who has an account.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::crowd::Crowd;
use crate::accounts::outbox::{self, Tally};
use crate::app::App;
use crate::urls;

/// How long letters stay counted, so that many scrapes are no more work for the database than few.
const KEPT: Duration = Duration::from_secs(5);
/// How long to wait for the database; Prometheus gives up the whole scrape after ten seconds.
const WAIT: Duration = Duration::from_secs(2);

/// What a scrape looks at.
struct Seen {
    app: Arc<App>,
    crowd: Arc<Crowd>,
    outbox: Mutex<Option<(Instant, Option<Tally>)>>,
}

/// Answers [`urls::METRICS`] and nothing else, by whatever name: Prometheus asks by address.
pub fn router(app: Arc<App>, crowd: Arc<Crowd>) -> Router {
    Router::new().route(urls::METRICS, get(show)).with_state(Arc::new(Seen { app, crowd, outbox: Mutex::default() }))
}

/// GET /metrics
async fn show(State(seen): State<Arc<Seen>>) -> impl IntoResponse {
    let metrics = &seen.app.metrics;
    metrics.connections.set(number(seen.crowd.len()));
    metrics.hashing.queue.set(number(seen.app.accounts.hasher.waiting()));
    let tally = seen.letters().await;
    if let Some(Tally { states, oldest }) = &tally {
        for (state, count) in states {
            metrics.letters.get_or_create(&[("state", state.clone())]).set(*count);
        }
        metrics.oldest_letter.set(oldest.map_or(0, |since| (seen.app.now() - since).whole_seconds().max(0)));
    }
    let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    metrics.text(tally.is_some()).map(|text| (kind, text)).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

impl Seen {
    /// The letters as they were counted lately, unless the database did not answer.
    async fn letters(&self) -> Option<Tally> {
        let mut lately = self.outbox.lock().await;
        if let Some((at, tally)) = &*lately
            && at.elapsed() < KEPT
        {
            return tally.clone();
        }
        let counted = timeout(WAIT, outbox::tally(self.app.db.read())).await;
        let tally = match counted {
            Ok(Ok(tally)) => Some(tally),
            failed => {
                debug!(?failed, "letters cannot be counted");
                self.app.metrics.scrape_errors.inc();
                None
            }
        };
        *lately = Some((Instant::now(), tally.clone()));
        tally
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
