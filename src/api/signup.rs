//! Creating an account.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::Fields;
use super::error::{Answer, Detail, FieldProblems, Problem};
use super::profile::UserOut;
use crate::accounts::signup::{self, NewAccount};
use crate::accounts::user::Taken;
use crate::accounts::user::email::Email;
use crate::accounts::user::username::{FullName, Username};
use crate::app::App;
use crate::config::Signup;
use crate::gate;
use crate::gate::client::Client;
use crate::throttle::Limit;

/// A new account.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read field by field, so that every problem is named; this is its description")]
pub struct NewUser {
    /// 3 to 32 letters, digits, - _ and .
    #[schema(examples("sam"), min_length = 3, max_length = 32)]
    username: String,
    /// Where the email goes.
    #[schema(examples("sam@example.com"), format = "email", max_length = 254)]
    email: String,
    /// How the person is called; may be left out.
    #[schema(examples("Sam Smith"), max_length = 100)]
    full_name: Option<String>,
    /// 8 characters or more, and not easy to guess. On a site that confirms addresses, the person chooses the password of
    /// the account where they open the link in the email, and this one is not used.
    #[schema(examples("velvet otter bakes rye"), format = "password", min_length = 8, max_length = 256)]
    password: String,
}

/// What happens next.
#[derive(Serialize, ToSchema)]
pub struct Message {
    /// In the language asked for.
    #[schema(examples("We emailed you a link. Open it to finish creating your account."))]
    pub message: String,
}

/// Create an account
///
/// On a site that confirms addresses the answer is 202 whether or not the address has an account, and an email says
/// the rest. On a site that does not, it is 201 with the account.
#[utoipa::path(
    post,
    path = "/users/",
    operation_id = "create_user",
    tag = "users",
    request_body(content = NewUser, example = json!({"username": "sam", "email": "sam@example.com",
        "full_name": "Sam Smith", "password": "velvet otter bakes rye"})),
    responses(
        (status = 202, description = "An email with a link is on its way", body = Message,
            example = json!({"message": "We emailed you a link. Open it to finish creating your account."})),
        (status = 201, description = "The account exists (sites with open sign-up)", body = UserOut,
            example = json!({"id": "01a203d9-ab8e-76eb-ba49-c3e996b26789", "username": "sam",
                "email": "sam@example.com", "full_name": "Sam Smith"})),
        (status = 403, description = "Sign-up is closed, or a page of another site made a browser send it", body = Detail, example = json!({"detail": "Sign-up is closed"})),
        (status = 422, description = "Fields that are not accepted", body = FieldProblems,
            example = json!({"detail": [{"loc": ["body", "email"], "type": "value_error",
                "msg": "Enter an email address like name@example.com"}]})),
    )
)]
pub async fn create(State(app): State<Arc<App>>, Client(client): Client, mut fields: Fields) -> Answer {
    let t = client.locale.t();
    if app.config.signup == Signup::Closed {
        return Err(Problem::Said(StatusCode::FORBIDDEN, t.signup_is_closed()));
    }
    gate::throttle(&app, Limit::SignUp, &client).await?;
    let (username, email) = (fields.text("username"), fields.text("email"));
    let (full_name, password) = (fields.optional("full_name"), fields.text("password"));
    let judged = app.new_password(&password, [&email, &username, &full_name]).await?;
    let open = app.config.signup == Signup::Open;
    let parsed = (
        fields.note("username", Username::choose(&username, &app.config.site_name)),
        fields.note("email", Email::parse(&email)),
        fields.note("full_name", FullName::parse(&full_name)),
        fields.note("password", judged),
    );
    let told = (parsed.1.as_ref().filter(|_| open), parsed.0.as_ref());
    let taken = signup::taken(&app.db, told.0, told.1).await?;
    let any_taken = !taken.is_empty();
    for name in taken {
        fields.note(name.field(), Err::<(), _>(name));
    }
    let (false, (Some(username), Some(email), Some(full_name), Some(password))) = (any_taken, parsed) else {
        return Err(fields.problems());
    };
    let (new, now) = (NewAccount { email, username, full_name, password }, app.now());

    let taken = if open {
        match signup::open(&app.accounts, new, &client, now).await? {
            Ok(user) => return Ok((StatusCode::CREATED, Json(UserOut::from(user))).into_response()),
            Err(taken) => taken,
        }
    } else {
        match signup::ask(&app.accounts, new, &client, now).await? {
            Some(_) => {
                app.bell.notify_one();
                return Ok((StatusCode::ACCEPTED, Json(Message { message: t.api_signup_sent() })).into_response());
            }
            None => Taken::Username,
        }
    };
    fields.note(taken.field(), Err::<(), _>(taken));
    Err(fields.problems())
}
