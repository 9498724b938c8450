//! Which sessions have ended, for those who look at tokens without asking us.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::client;
use super::discovery::kept;
use super::error::Problem;
use crate::accounts::apps::Application;
use crate::accounts::{Client, logout};
use crate::app::App;
use crate::gate::form::{Fields, Form, Query, form};

form! {
    /// The query.
    pub struct SinceQuery {
        /// From when on, in Unix seconds.
        since: Option<i64>,
    }
}

/// GET /oauth/revocations: what has ended while access tokens of it may still be valid.
///
/// Everybody may read which sessions have ended: an id of a session says nothing to whoever has no token of it. Only an app with its
/// secret reads what has ended of itself. The id of a session is the same in all apps, so an app would find out by others' entries
/// which apps its users use.
pub async fn show(
    State(app): State<Arc<App>>,
    client: Client,
    headers: HeaderMap,
    Query(SinceQuery { since }): Query<SinceQuery>,
) -> Result<Response, Problem> {
    let caller = match headers.contains_key(header::AUTHORIZATION) {
        true => Some(client::authenticate(&app, &client, &headers, &Fields::default()).await?),
        false => None,
    };
    answer(&app, caller, since, &headers).await
}

/// POST /oauth/revocations: the same for an app that shows in a form who it is, such as by an assertion.
pub async fn show_own(
    State(app): State<Arc<App>>,
    client: Client,
    headers: HeaderMap,
    Form(form): Form,
) -> Result<Response, Problem> {
    let caller = client::not_public(&app, &client, &headers, &form).await?;
    answer(&app, Some(caller), form.text("since").parse().ok(), &headers).await
}

async fn answer(
    app: &App,
    caller: Option<Application>,
    since: Option<i64>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let since = since.and_then(|since| OffsetDateTime::from_unix_timestamp(since).ok());
    let ended = logout::ended(&app.db, since.unwrap_or(OffsetDateTime::UNIX_EPOCH), app.now()).await?;
    let at = |row: &logout::Model| row.seen_at.map(OffsetDateTime::unix_timestamp);
    let (entries, cache): (Vec<Value>, _) = match caller {
        Some(caller) => {
            let own = ended.iter().filter(|row| row.app_id == caller.id);
            let entry = |row: &logout::Model| json!({ "client_id": caller.id, "sid": row.sid, "at": at(row) });
            (own.map(entry).collect(), "private, max-age=1")
        }
        None => {
            let whole: BTreeMap<_, _> = ended.iter().filter(|row| row.whole).map(|row| (row.sid, at(row))).collect();
            let entry = |(sid, at)| json!({ "sid": sid, "at": at });
            (whole.into_iter().map(entry).collect(), "public, max-age=1")
        }
    };
    Ok(kept("application/json", &json!({ "revocations": entries }), cache, headers)?)
}
