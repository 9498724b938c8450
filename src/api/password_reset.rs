//! A program helps a user who forgot the password.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::body::{self, Body, BodyProblems, field};
use super::error::{ApiResult, Detail, FieldProblems, Problem};
use super::signup::Message;
use crate::accounts::Client;
use crate::accounts::password_reset::{self, Reset};
use crate::accounts::session::SessionKind;
use crate::accounts::token::Token;
use crate::app::App;
use crate::gate::form::Query;
use crate::urls;

/// The account whose password was forgotten.
#[derive(Deserialize, ToSchema)]
pub struct ResetRequest {
    /// The address of the account.
    #[schema(examples("sam@example.com"), format = "email")]
    email: String,
}

/// A query that takes the place of a body.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EmailQuery {
    /// The address, if it is not in the body.
    email: Option<String>,
}

/// Ask for a reset link
///
/// The answer is the same whether or not the address has an account.
#[utoipa::path(
    post,
    path = urls::API_RESET_PASSWORD,
    operation_id = "ask_reset",
    tag = "reset",
    params(EmailQuery),
    request_body(content = Option<ResetRequest>, example = json!({"email": "sam@example.com"})),
    responses(
        (status = 202, description = "If the address has an account, an email with a link is on its way", body = Message,
            example = json!({"message": "If the address has an account, a link is on its way. It works for 1 hour."})),
        (status = 422, description = "Not an address", body = FieldProblems,
            example = json!({"detail": [{"loc": ["body", "email"], "type": "value_error",
                "msg": "Enter an email address like name@example.com"}]})),
    )
)]
pub async fn ask(
    State(app): State<Arc<App>>,
    client: Client,
    Query(query): Query,
    Body(request, problems): Body<ResetRequest>,
) -> ApiResult {
    let EmailQuery { email } = body::read_query(&query)?;
    // An address in the query replaces the one in the body.
    let (typed, mut problems) = match email {
        Some(email) => (email, BodyProblems::new(client.locale.t())),
        None => (request.email, problems),
    };
    let asked = password_reset::ask(&app.accounts, (&typed, false), &client, app.now()).await?;
    if problems.note(field!(ResetRequest, email), asked).is_none() {
        return Err(problems.into());
    }
    let message = client.locale.t().reset_sent_somewhere();
    Ok((StatusCode::ACCEPTED, Json(Message { message })).into_response())
}

/// The token of an emailed link.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TokenQuery {
    /// From the link in the email.
    #[param(example = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")]
    token: Option<String>,
}

/// Go on to the form
///
/// For links of the old kind: leads a browser to the page that chooses a new password.
#[utoipa::path(
    get,
    path = urls::API_RESET_PASSWORD,
    operation_id = "open_reset_form",
    tag = "reset",
    params(TokenQuery),
    responses((status = 303, description = "To the form page",
        headers(("Location" = String, description = "The form page, with the token if it has the shape of one"))))
)]
pub async fn form(Query(query): Query) -> ApiResult {
    let TokenQuery { token } = body::read_query(&query)?;
    // Only what has the shape of a token is passed on: nothing else belongs in an address of ours.
    let token = token.and_then(|token| Token::parse(&token));
    let address = match token {
        Some(token) => format!("{}?token={}", urls::RESET_PASSWORD, &*token.reveal()),
        None => urls::RESET_PASSWORD.to_owned(),
    };
    Ok(Redirect::to(&address).into_response())
}

/// A new password, and the proof that it may be chosen.
#[derive(Deserialize, ToSchema)]
pub struct NewPasswordRequest {
    /// From the link in the email.
    #[schema(examples("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"))]
    token: String,
    /// 8 characters or more, and not easy to guess.
    #[schema(examples("seven herons paint slowly"), format = "password", min_length = 8, max_length = 256)]
    new_password: String,
}

/// Choose a new password
///
/// Every session of the user ends, tokens too, and every other reset link dies.
#[utoipa::path(
    post,
    path = urls::API_COMPLETE_RESET_PASSWORD,
    operation_id = "complete_reset",
    tag = "reset",
    request_body(content = NewPasswordRequest, example = json!({
        "token": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "new_password": "seven herons paint slowly"})),
    responses(
        (status = 200, description = "The password is changed", body = Message,
            example = json!({"message": "Your password was changed. Log in with it. All devices have been logged out."})),
        (status = 410, description = "The link was used, has expired, or never was", body = Detail,
            example = json!({"detail": "This link no longer works"})),
        (status = 422, description = "Fields that are not accepted", body = FieldProblems,
            example = json!({"detail": [{"loc": ["body", "new_password"], "type": "value_error",
                "msg": "Choose a password"}]})),
    )
)]
pub async fn complete(
    State(app): State<Arc<App>>,
    client: Client,
    Body(request, mut problems): Body<NewPasswordRequest>,
) -> ApiResult {
    let t = client.locale.t();
    let NewPasswordRequest { token, new_password } = request;
    if !problems.is_empty() {
        return Err(problems.into());
    }
    let (token, by) = (Token::parse(&token), SessionKind::Api);
    match password_reset::reset(&app.accounts, (token.as_ref(), &new_password), by, &client, app.now()).await? {
        Reset::Done { .. } => {}
        Reset::Gone => return Err(Problem::Refused(StatusCode::GONE, t.link_is_gone().into())),
        Reset::Invalid(_, why) => {
            problems.note(field!(NewPasswordRequest, new_password), Err::<(), _>(why));
            return Err(problems.into());
        }
    }
    Ok(Json(Message { message: t.flash_password_reset() }).into_response())
}
