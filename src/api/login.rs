//! Getting a token.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use time::Duration;
use utoipa::ToSchema;

use super::error::{Answer, FieldProblem, Problem, TokenFieldProblems, TokenProblem};
use crate::accounts::Fault;
use crate::accounts::login::{self, Attempt};
use crate::accounts::password::Password;
use crate::accounts::session::Lasting;
use crate::app::App;
use crate::gate;
use crate::gate::client::Client;
use crate::gate::error::Error;
use crate::gate::form::{Fields, Form};
use crate::keys::Pointer;
use crate::locale::Translation;
use crate::throttle::Limit;

/// The OAuth 2 password form (RFC 6749, 4.3.2).
#[derive(ToSchema)]
#[expect(dead_code, reason = "read field by field; this is its description")]
pub struct TokenRequest {
    /// A username or an email address.
    #[schema(examples("sam"))]
    username: String,
    #[schema(examples("velvet otter bakes rye"), format = "password")]
    /// The password.
    password: String,
    /// `password`, if given. There is no other.
    #[schema(examples("password"))]
    grant_type: Option<String>,
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
    path = "/token",
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
pub async fn token(State(app): State<Arc<App>>, Client(client): Client, Form(form): Form) -> Answer {
    let t = client.locale.t();
    let (username, password) = credentials(&form, t)?;
    let (now, lifetime) = (app.now(), Duration::minutes(app.config.token_minutes.into()));
    let who = (username, Password::new(password));
    let lasting = Lasting::Token(lifetime);
    gate::throttle(&app, Limit::LogIn, &client).await?;
    let attempt = login::with_password(&app.accounts, who, lasting, &client, now).await;
    if matches!(attempt, Ok(Attempt::Succeeded(_)) | Err(Fault::Busy)) {
        app.throttle.give_back(Limit::LogIn, &client.ip);
    }
    let session = match attempt? {
        Attempt::Succeeded(logged_in) => logged_in.session,
        Attempt::Failed => return Err(Problem::Token("invalid_grant", t.api_wrong_log_in())),
        Attempt::Disabled => return Err(Problem::Token("invalid_grant", t.account_disabled())),
        Attempt::Refused(too_many) => return Err(Error::from(too_many).into()),
    };
    let pointer = Pointer { user: session.user_id, session: session.id };
    let access_token = app.token_keys.mint(pointer, now, session.expires_at).map_err(Error::internal)?;
    let token = TokenOut { access_token, token_type: "bearer", expires_in: lifetime.whole_seconds() };
    Ok(Json(token).into_response())
}

/// Reads the username and the password of a request that asks for the password grant, or names no grant.
fn credentials<'a>(form: &'a Fields, t: &Translation) -> Result<(&'a str, &'a str), Problem> {
    // A parameter without a value is one that was left out (RFC 6749, 3.2).
    if form.once("grant_type").is_some_and(|grant| !grant.is_empty() && grant != "password") {
        return Err(Problem::Token("unsupported_grant_type", t.api_grant_type()));
    }
    let doubled = |field: &str| form.came(field) && form.once(field).is_none();
    let bad = [
        ("grant_type", doubled("grant_type")),
        ("username", form.once("username").is_none()),
        ("password", form.once("password").is_none()),
    ];
    let bad: Vec<_> =
        bad.into_iter().filter(|(_, bad)| *bad).map(|(field, _)| FieldProblem::missing(field, t)).collect();
    match (form.once("username"), form.once("password")) {
        (Some(username), Some(password)) if bad.is_empty() => Ok((username, password)),
        _ => Err(Problem::TokenFields(bad)),
    }
}
