//! The port for Prometheus. It has no password, as is usual, and its numbers are not for the public: an attacker who asks
//! for a reset and then looks whether the letter was sent or dropped knows whether the address has an account.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::time::timeout;
use tracing::debug;
use url::{Host, Url};

use crate::accounts::outbox::{self, Tally};
use crate::app::App;
use crate::gate::host;
use crate::net::Crowd;
use crate::recent::Recent;
use crate::urls;

/// How long a count of the letters is used, so that many scrapes are no more work for the database than few.
const KEPT: Duration = Duration::from_secs(5);
/// How long to wait for the database. Prometheus gives up the whole scrape after ten seconds.
const WAIT: Duration = Duration::from_secs(2);

/// What a scrape reads.
struct Source {
    app: Arc<App>,
    crowd: Arc<Crowd>,
    outbox: Recent<Option<Tally>>,
}

/// Returns a router that answers [`urls::METRICS`] and nothing else.
pub fn router(app: Arc<App>, crowd: Arc<Crowd>) -> Router {
    let source = Source { app, crowd, outbox: Recent::new(|_| KEPT) };
    Router::new().route(urls::METRICS, get(show)).with_state(Arc::new(source))
}

/// GET /metrics
async fn show(
    State(source): State<Arc<Source>>,
    request: Request,
) -> Result<impl IntoResponse, (StatusCode, &'static str)> {
    let mut names = host::names(&request).map_err(|kind| (kind.status(), "Send one Host.\n"))?;
    if !names.all(|name| is_ours(name, source.app.public_url.host())) {
        return Err((StatusCode::MISDIRECTED_REQUEST, "Ask for an address, or for a private name: see README.\n"));
    }
    let metrics = &source.app.metrics;
    metrics.connections.set(number(source.crowd.connections()));
    metrics.hashing.queue.set(number(source.app.accounts.hasher.waiting()));
    let tally = source.letters().await;
    metrics.database_up.set(tally.is_some().into());
    if let Some(Tally { states, oldest }) = &tally {
        for (state, count) in states {
            metrics.letters.get_or_create(&[("state", state.clone())]).set(*count);
        }
        metrics.oldest_letter.set(oldest.map_or(0, |since| (source.app.now() - since).whole_seconds().max(0)));
    }
    let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    metrics.backups.grow(source.app.now());
    metrics.text(tally.is_some()).map(|text| (kind, text)).map_err(|_| (StatusCode::INTERNAL_SERVER_ERROR, ""))
}

/// Returns whether a request that asks for this name, with or without a port, can have been meant for us.
///
/// The port is on a private network, but a browser there can be led to it (DNS rebinding). An attacker's page asks for a
/// name that the attacker owns. A moment later the name leads here, and the page reads the answer as its own. So addresses
/// pass, and names that an attacker cannot register: those without a dot, as in Compose and Kubernetes, `localhost`
/// (RFC 6761), `internal` (reserved by ICANN), and the site's own name.
fn is_ours(name: &str, own: &str) -> bool {
    let url = Url::parse(&format!("http://{name}"));
    match url.as_ref().map(Url::host) {
        Ok(Some(Host::Ipv4(_) | Host::Ipv6(_))) => true,
        Ok(Some(Host::Domain(name))) => {
            name == own || !name.contains('.') || name.ends_with(".localhost") || name.ends_with(".internal")
        }
        _ => false,
    }
}

impl Source {
    /// Returns a recent count of the letters, or `None` if the database did not answer.
    async fn letters(&self) -> Option<Tally> {
        let count = async {
            match timeout(WAIT, outbox::tally(self.app.db.read())).await {
                Ok(Ok(tally)) => Some(tally),
                failed => {
                    debug!(?failed, "letters cannot be counted");
                    self.app.metrics.scrape_errors.inc();
                    None
                }
            }
        };
        self.outbox.get(count).await
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
