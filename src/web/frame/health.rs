//! What load balancers ask: whether the server is alive, and whether it can serve.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use time::OffsetDateTime;
use tokio::time::timeout;

use super::doctor;
use crate::app::App;
use crate::gate::error::{Error, ErrorKind, Explained};
use crate::web::frame::mail;

/// How long the database may take to answer. Load balancers give up after a few seconds themselves.
const WAIT: Duration = Duration::from_secs(2);

/// GET /healthz
pub async fn alive(State(app): State<Arc<App>>, request: Request) -> Response {
    doctor::seen(&app, request).map_or_else(|| "alive\n".into_response(), Json::into_response)
}

/// GET /readyz
///
/// Any client may ask, as often as it likes. So the database is asked at most once a second, and once for all clients that ask
/// at the same time.
///
/// A server that will stop says so first. While emails wait, it is ready all the same, because users can log in. A second
/// line says so, without an address and without the words of the mail server.
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, Extension(Explained), "stopping\n").into_response();
    }
    let asked = async {
        match timeout(WAIT, app.db.ping()).await {
            Ok(answer) => answer.map_err(|why| why.to_string()),
            Err(_) => Err("the database does not answer".to_owned()),
        }
    };
    if let Err(why) = app.readiness.get(asked).await {
        Error::unavailable(why).log();
        let wait = ErrorKind::Unavailable.retry_after().unwrap_or_default().to_string();
        let words = "database: it does not answer; the log says why\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, wait)], Extension(Explained), words)
            .into_response();
    }
    // A table that is locked must not make the probe late: a balancer would take every node out.
    match timeout(WAIT, mail::stuck_since(&app)).await.ok().flatten() {
        None => "ready\n".into_response(),
        Some(since) => format!("ready\nmail: the mail server has not taken emails for {}\n", minutes(since, app.now()))
            .into_response(),
    }
}

fn minutes(since: OffsetDateTime, now: OffsetDateTime) -> String {
    match (now - since).whole_minutes() {
        ..1 => "less than a minute".to_owned(),
        1 => "1 minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    }
}
