//! An app gives a token back, or asks whether it still opens anything.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::client;
use super::error::Problem;
use crate::accounts::{Client, shown_token};
use crate::app::App;
use crate::gate::form::{Fields, Form};

/// POST /oauth/revoke (RFC 7009). The answer is the same for any token, or else it would tell which one is whose.
pub async fn revoke(
    State(app): State<Arc<App>>,
    client: Client,
    headers: HeaderMap,
    Form(form): Form,
) -> Result<StatusCode, Problem> {
    let caller = client::authenticate(&app, &client, &headers, &form).await?;
    shown_token::revoke(&app.accounts, &caller, token(&form)?, app.public_url.origin(), app.now()).await?;
    Ok(StatusCode::OK)
}

/// POST /oauth/introspect (RFC 7662), not for public apps: with the name of one, anybody could try tokens here.
pub async fn introspect(
    State(app): State<Arc<App>>,
    client: Client,
    headers: HeaderMap,
    Form(form): Form,
) -> Result<Response, Problem> {
    let caller = client::not_public(&app, &client, &headers, &form).await?;
    let (token, issuer) = (token(&form)?, app.public_url.origin());
    Ok(Json(shown_token::introspect(&app.accounts, &caller, token, issuer, app.now()).await?).into_response())
}

/// Returns the token. `token_type_hint` is not needed: a token says itself what it is.
fn token(form: &Fields) -> Result<&str, Problem> {
    let token = form.once("token").filter(|token| !token.is_empty());
    token.ok_or(Problem::Refused("invalid_request", "token is missing, or came more than once"))
}
