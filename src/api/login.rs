//! A program gets a token.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{self, SentField};
use super::error::{ApiResult, FieldProblem, Problem, TokenFieldProblems, TokenProblem};
use crate::accounts::Client;
use crate::accounts::login::{self, Credentials, LogIn};
use crate::accounts::password::Password;
use crate::accounts::policy::Lasting;
use crate::app::App;
use crate::gate::error::Error;
use crate::gate::form::{Fields, Form};
use crate::keys::Pointer;
use crate::locale::Translation;
use crate::urls;

/// The OAuth 2 password form (RFC 6749, 4.3.2).
#[derive(Deserialize, ToSchema)]
pub struct TokenRequest<'a> {
    /// A username or an email address.
    #[schema(examples("sam"))]
    username: &'a str,
    /// The password.
    #[schema(examples("velvet otter bakes rye"), format = "password")]
    password: &'a str,
    /// `password`, if given. There is no other.
    #[schema(examples("password"))]
    #[serde(borrow)]
    grant_type: Option<&'a str>,
}

impl<'a> TokenRequest<'a> {
    /// Reads a request that asks for the password grant or names no grant. It borrows the password from the form, which
    /// is wiped from memory when it is dropped.
    fn read(form: &'a Fields, t: &Translation) -> Result<Self, Problem> {
        let (request, mut missing): (Self, _) = body::read(|field| match form.once(field) {
            Some(text) => SentField::Text(text),
            None if form.came(field) => SentField::Other,
            None => SentField::Nothing,
        })?;
        // A parameter without a value counts as missing (RFC 6749, 3.2).
        if request.grant_type.is_some_and(|grant| !["", "password"].contains(&grant)) {
            return Err(Problem::Token("unsupported_grant_type", t.api_grant_type().into()));
        }
        if missing.is_empty() {
            return Ok(request);
        }
        // The grant comes first, because the other fields depend on it.
        missing.sort_by_key(|field| *field != "grant_type");
        Err(Problem::TokenFields(missing.into_iter().map(|field| FieldProblem::missing(field, t)).collect()))
    }
}

/// A token, to be sent as `Authorization: Bearer …`.
#[derive(Serialize, ToSchema)]
pub struct TokenOut {
    /// The token. It stops working when the session that it stands for ends.
    #[schema(examples("eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJIUzI1NiJ9.e30.c2ln"))]
    access_token: String,
    /// `bearer`.
    #[schema(examples("bearer"))]
    token_type: &'static str,
    /// In seconds.
    #[schema(examples(1800))]
    expires_in: i64,
}

/// Get a token
///
/// It lasts 30 minutes unless the site says otherwise, is listed among the places where the person is logged in, and
/// ends with a change of the password.
#[utoipa::path(
    post,
    path = urls::TOKEN,
    operation_id = "get_token",
    tag = "users",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded",
        example = json!({"username": "sam", "password": "velvet otter bakes rye", "grant_type": "password"})),
    responses(
        (status = 200, description = "A token", body = TokenOut,
            example = json!({"access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJIUzI1NiJ9.e30.c2ln",
                "token_type": "bearer", "expires_in": 1800})),
        (status = 400, description = "Not this username or not this password, an account that the operator has disabled, or another grant type", body = TokenProblem,
            example = json!({"detail": "Incorrect username or password", "error": "invalid_grant"})),
        (status = 422, description = "Fields that are missing, or came twice", body = TokenFieldProblems,
            example = json!({"detail": [{"loc": ["body", "password"], "type": "missing", "msg": "Needs this field, as text"}],
                "error": "invalid_request"})),
    )
)]
pub async fn token(State(app): State<Arc<App>>, client: Client, Form(form): Form) -> ApiResult {
    let t = client.locale.t();
    let TokenRequest { username, password, .. } = TokenRequest::read(&form, t)?;
    let (now, lifetime) = (app.now(), app.settings.token_lifetime);
    let credentials = Credentials { login: username, password: Password::new(password) };
    let session = match login::log_in(&app.accounts, credentials, Lasting::Token, &client, now).await? {
        LogIn::Succeeded(logged_in) => logged_in.session,
        LogIn::Failed => return Err(Problem::Token("invalid_grant", t.api_wrong_log_in().into())),
        LogIn::Disabled => return Err(Problem::Token("invalid_grant", t.account_disabled().into())),
    };
    let pointer = Pointer { user: session.user_id, session: session.id };
    let access_token = app.token_keys.mint(pointer, now, session.expires_at).map_err(Error::internal)?;
    let token = TokenOut { access_token, token_type: "bearer", expires_in: lifetime.whole_seconds() };
    Ok(Json(token).into_response())
}
