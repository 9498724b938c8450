//! An app sees what the user lets it see.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::error::Problem;
use crate::accounts::tokens::{self, NoAccess};
use crate::app::App;
use crate::gate::form::Form;

/// GET and POST /oauth/userinfo (OpenID Connect Core, 5.3). The token is in `Authorization` or in a form, and never in the query:
/// queries are logged (RFC 6750, 2.3).
pub async fn show(State(app): State<Arc<App>>, headers: HeaderMap, Form(form): Form) -> Result<Response, Problem> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let line = lines.next().and_then(|line| line.to_str().ok()).and_then(|line| line.split_once(' '));
    let in_header = line.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let in_form = form.once("access_token").filter(|token| !token.is_empty());
    let token = match (in_header, in_form) {
        _ if lines.next().is_some() => return Err(Problem::Refused("invalid_request", "Authorization came twice")),
        (Some(_), Some(_)) => return Err(Problem::Refused("invalid_request", "the token came in two ways")),
        (None, None) => return Err(Problem::NoAccess(None)),
        (Some(token), None) | (None, Some(token)) => token,
    };
    match tokens::userinfo(&app.accounts, token, app.public_url.origin(), app.now()).await? {
        Ok(claims) => Ok(Json(claims).into_response()),
        Err(NoAccess::Token) => Err(Problem::NoAccess(Some("invalid_token"))),
        Err(NoAccess::Scope) => Err(Problem::NoAccess(Some("insufficient_scope"))),
    }
}
