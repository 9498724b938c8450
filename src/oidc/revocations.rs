//! Which sessions have ended, for those who look at tokens without asking us.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::discovery::kept;
use super::error::Problem;
use crate::accounts::logout;
use crate::app::App;
use crate::gate::form::{Query, form};

form! {
    /// The query.
    pub struct SinceQuery {
        /// From when on, in Unix seconds.
        since: Option<i64>,
    }
}

/// GET /oauth/revocations: the sessions of apps that have ended while access tokens of theirs may still be valid. An id of a session says
/// nothing to whoever has no token of it, so everybody may read them.
pub async fn show(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Query(SinceQuery { since }): Query<SinceQuery>,
) -> Result<Response, Problem> {
    let since = since.and_then(|since| OffsetDateTime::from_unix_timestamp(since).ok());
    let ended = logout::ended(&app.db, since.unwrap_or(OffsetDateTime::UNIX_EPOCH), app.now()).await?;
    let entry = |row: logout::Model| {
        let at = row.seen_at.map(OffsetDateTime::unix_timestamp);
        json!({ "client_id": row.app_id, "sid": row.sid, "at": at })
    };
    let ended: Vec<Value> = ended.into_iter().map(entry).collect();
    Ok(kept("application/json", &json!({ "revocations": ended }), Duration::SECOND, &headers)?)
}
