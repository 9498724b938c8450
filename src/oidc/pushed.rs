//! An app sends its request ahead of its user.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::client;
use super::error::Problem;
use crate::accounts::Client;
use crate::accounts::authorize::pushed;
use crate::accounts::authorize::request::Params;
use crate::app::App;
use crate::gate::form::Form;

/// POST /oauth/par (RFC 9126), not for public apps: with the name of one, everybody could fill the table.
pub async fn push(
    State(app): State<Arc<App>>,
    client: Client,
    headers: HeaderMap,
    Form(form): Form,
) -> Result<Response, Problem> {
    let caller = client::not_public(&app, &client, &headers, &form).await?;
    match pushed::push(&app.accounts, &caller, &Params::of(form.iter()), app.now()).await? {
        Ok(uri) => {
            let body = json!({ "request_uri": uri, "expires_in": pushed::LIVES.whole_seconds() });
            Ok((StatusCode::CREATED, Json(body)).into_response())
        }
        Err(refusal) => Err(Problem::Refused(refusal.error, refusal.description)),
    }
}
