//! A program creates an account.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{Body, BodyField, field};
use super::error::{ApiResult, Detail, FieldProblems, Problem};
use super::profile::UserOut;
use crate::accounts::Client;
use crate::accounts::session::SessionKind;
use crate::accounts::signup::{self, SignUp, SignupProblem, Typed};
use crate::accounts::user::Taken;
use crate::app::App;
use crate::urls;

/// A new account.
#[derive(Deserialize, ToSchema)]
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

/// A sentence that says what happens next.
#[derive(Serialize, ToSchema)]
pub struct Message {
    /// In the language asked for.
    #[schema(examples("We emailed you a link. Open it to finish creating your account."))]
    pub message: &'static str,
}

/// Create an account
///
/// On a site that confirms addresses the answer is 202 whether or not the address has an account, and an email says
/// the rest. On a site that does not, it is 201 with the account.
#[utoipa::path(
    post,
    path = urls::USERS,
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
pub async fn create(State(app): State<Arc<App>>, client: Client, Body(new, mut problems): Body<NewUser>) -> ApiResult {
    let t = client.locale.t();
    let full_name = new.full_name.as_deref().unwrap_or_default();
    let NewUser { username, email, password, .. } = &new;
    let typed = Typed { email, username, full_name, password, complete: problems.is_empty() };
    match signup::sign_up(&app.accounts, typed, SessionKind::Api, &client, app.now()).await? {
        SignUp::Begun(_) => Ok((StatusCode::ACCEPTED, Json(Message { message: t.api_signup_sent() })).into_response()),
        SignUp::Created(user, _) => Ok((StatusCode::CREATED, Json(UserOut::from(&*user))).into_response()),
        SignUp::Closed => Err(Problem::Refused(StatusCode::FORBIDDEN, t.signup_is_closed().into())),
        SignUp::Invalid(mut invalid) => {
            invalid.sort_by_key(place);
            for problem in invalid {
                problems.note(field_of(&problem), Err::<(), _>(problem));
            }
            Err(problems.into())
        }
    }
}

/// Returns the place of a problem in the answer: in the order of the fields, and names that are taken last.
fn place(problem: &SignupProblem) -> u8 {
    match problem {
        SignupProblem::Username(_) => 0,
        SignupProblem::Email(_) => 1,
        SignupProblem::FullName(_) => 2,
        SignupProblem::Password(_) => 3,
        SignupProblem::Taken(Taken::Username) => 4,
        SignupProblem::Taken(Taken::Email) => 5,
    }
}

/// Returns the field that has the problem.
fn field_of(problem: &SignupProblem) -> BodyField {
    match problem {
        SignupProblem::Username(_) | SignupProblem::Taken(Taken::Username) => field!(NewUser, username),
        SignupProblem::Email(_) | SignupProblem::Taken(Taken::Email) => field!(NewUser, email),
        SignupProblem::FullName(_) => field!(NewUser, full_name),
        SignupProblem::Password(_) => field!(NewUser, password),
    }
}
