//! An app gets tokens.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::client;
use super::error::Problem;
use crate::accounts::Client;
use crate::accounts::apps::Application;
use crate::accounts::tokens::{self, Code, Refreshed, Tokens};
use crate::app::App;
use crate::gate::form::{Fields, Form};

/// Tokens (RFC 6749, 5.1; OpenID Connect Core, 3.1.3.3).
#[derive(Serialize)]
struct TokensOut {
    access_token: String,
    token_type: &'static str,
    /// In seconds.
    expires_in: i64,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

/// POST /oauth/token
pub async fn redeem(
    State(app): State<Arc<App>>,
    client: Client,
    headers: HeaderMap,
    Form(form): Form,
) -> Result<Response, Problem> {
    let caller = client::authenticate(&app, &client, &headers, &form).await?;
    let parameters = ["grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "scope"];
    if parameters.iter().any(|name| form.came(name) && form.once(name).is_none()) {
        return Err(Problem::Refused("invalid_request", "a parameter came more than once"));
    }
    let got = match form.text("grant_type") {
        "authorization_code" => by_code(&app, &caller, &form).await,
        "refresh_token" => by_refresh_token(&app, &caller, &form).await,
        "" => Err(Problem::Refused("invalid_request", "grant_type is missing")),
        _ => {
            let words = "grant_type must be authorization_code or refresh_token";
            Err(Problem::Refused("unsupported_grant_type", words))
        }
    };
    // Everybody can name a public app, so what is shown in vain counts for the client. What another app shows in vain does not: any
    // visitor can have it send codes that were made up.
    let got = if caller.public { client::counted(&app, &client, got).await? } else { got? };
    let body = TokensOut {
        access_token: got.access_token,
        token_type: "Bearer",
        expires_in: tokens::LIVE.whole_seconds(),
        scope: got.scopes.to_string(),
        id_token: got.id_token,
        refresh_token: got.refresh_token.map(|token| token.to_string()),
    };
    Ok(([(header::PRAGMA, "no-cache")], Json(body)).into_response())
}

async fn by_code(app: &App, caller: &Application, form: &Fields) -> Result<Tokens, Problem> {
    let code = Code {
        code: form.text("code"),
        redirect_uri: form.text("redirect_uri"),
        verifier: form.once("code_verifier").filter(|verifier| !verifier.is_empty()),
    };
    if code.code.is_empty() {
        return Err(Problem::Refused("invalid_request", "code is missing"));
    }
    let got = tokens::redeem(&app.accounts, caller, code, app.public_url.origin(), app.now()).await?;
    let words = "the code works no more, or is not this app's, or redirect_uri or code_verifier is another one";
    got.ok_or(Problem::Refused("invalid_grant", words))
}

async fn by_refresh_token(app: &App, caller: &Application, form: &Fields) -> Result<Tokens, Problem> {
    let (token, scope) = (form.text("refresh_token"), form.once("scope").filter(|scope| !scope.is_empty()));
    if token.is_empty() {
        return Err(Problem::Refused("invalid_request", "refresh_token is missing"));
    }
    match tokens::refresh(&app.accounts, caller, (token, scope), app.public_url.origin(), app.now()).await? {
        Refreshed::Tokens(got) => Ok(*got),
        Refreshed::Gone => {
            let words = "the refresh token works no more, or is not this app's: have the user log in again";
            Err(Problem::Refused("invalid_grant", words))
        }
        Refreshed::Scope => Err(Problem::Refused("invalid_scope", "scope has more than the user lets the app see")),
    }
}
