//! Getting back in.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use utoipa::{IntoParams, ToSchema};

use super::body::Fields;
use super::error::{Answer, Detail, FieldProblems, Problem};
use super::signup::Message;
use crate::accounts::password::PasswordError;
use crate::accounts::password_reset::{self, Reset};
use crate::accounts::session::Kind;
use crate::accounts::token::Token;
use crate::accounts::user::email::Email;
use crate::app::App;
use crate::gate::client::Client;
use crate::gate::form::Query;
use crate::throttle::Limit;
use crate::{gate, urls};

/// Whose password was forgotten.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read field by field; this is its description")]
pub struct ResetRequest {
    /// The address of the account.
    #[schema(examples("sam@example.com"), format = "email")]
    email: String,
}

/// Instead of a body.
#[derive(IntoParams)]
#[expect(dead_code, reason = "read field by field; this is its description")]
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
    path = "/reset_password/",
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
    Client(client): Client,
    Query(query): Query,
    mut fields: Fields,
) -> Answer {
    gate::throttle(&app, Limit::Letter, &client).await?;
    let typed = query.once("email").map_or_else(|| fields.text("email"), str::to_owned);
    let Some(email) = fields.note("email", Email::parse(&typed)) else { return Err(fields.problems()) };
    password_reset::ask(&app.accounts, &email, &client, app.now()).await?;
    app.bell.notify_one();
    let message = client.locale.t().reset_sent_somewhere();
    Ok((StatusCode::ACCEPTED, Json(Message { message })).into_response())
}

/// The token of an emailed link.
#[derive(IntoParams)]
#[expect(dead_code, reason = "read field by field; this is its description")]
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
    path = "/reset_password/",
    operation_id = "open_reset_form",
    tag = "reset",
    params(TokenQuery),
    responses((status = 303, description = "To the form page",
        headers(("Location" = String, description = "The form page, with the token if it has the shape of one"))))
)]
pub async fn form(Query(query): Query) -> Response {
    // Only what has the shape of a token goes on: nothing else belongs into an address of ours.
    let token = Token::parse(query.text("token"));
    Redirect::to(&match token {
        Some(token) => format!("{}?token={}", urls::RESET_PASSWORD, &*token.reveal()),
        None => urls::RESET_PASSWORD.to_owned(),
    })
    .into_response()
}

/// A new password, and the proof that it may be chosen.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read field by field; this is its description")]
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
    path = "/complete_reset_password/",
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
pub async fn complete(State(app): State<Arc<App>>, Client(client): Client, mut fields: Fields) -> Answer {
    let (t, now) = (client.locale.t(), app.now());
    let gone = || Problem::Said(StatusCode::GONE, t.link_is_gone());
    let (token, typed) = (fields.text("token"), fields.text("new_password"));
    if !fields.is_good() {
        return Err(fields.problems());
    }
    gate::throttle(&app, Limit::Link, &client).await?;
    let token = Token::parse(&token).ok_or_else(gone)?;
    let user = password_reset::holder(&app.db, &token, now).await?.ok_or_else(gone)?;
    let judged = app.password_of_the_proven(&typed, user.about()).await?;
    let Some(new) = fields.note("new_password", judged) else { return Err(fields.problems()) };
    match password_reset::reset(&app.accounts, (&token, new), Kind::Api, &client, now).await? {
        Reset::Done(_) => {}
        Reset::Gone => return Err(gone()),
        Reset::SamePassword => {
            fields.note("new_password", Err::<(), _>(PasswordError::Same));
            return Err(fields.problems());
        }
    }
    app.bell.notify_one();
    Ok(Json(Message { message: t.flash_password_reset() }).into_response())
}
