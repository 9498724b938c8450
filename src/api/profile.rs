//! A program asks whose token it has.

use std::sync::Arc;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{ApiResult, Detail, Problem};
use crate::accounts::session::SessionKind;
use crate::accounts::user::User;
use crate::app::App;
use crate::gate::client::{self, Language};
use crate::urls;

/// The user whose token came with the request. A handler that takes it refuses requests without a valid token.
pub struct Caller(Arc<User>);

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let (locale, now) = (Language::of(parts).locale, app.now());
        let refused = || Problem::BadToken(locale);
        let sent = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer =
            sent.and_then(|sent| sent.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let (_, token) = bearer.ok_or(Problem::NoToken(locale))?;
        let pointer = app.token_keys.verify(token.trim(), now).ok_or_else(refused)?;
        let ip = || client::ip(parts, app);
        let resumed = app.accounts.resume((SessionKind::Api, pointer), ip, now).await?;
        Ok(Self(resumed.ok_or_else(refused)?.user))
    }
}

/// A user, without secrets.
#[derive(Serialize, ToSchema)]
pub struct UserOut {
    /// Never changes.
    #[schema(examples("01a203d9-ab8e-76eb-ba49-c3e996b26789"))]
    id: Uuid,
    /// To log in with.
    #[schema(examples("sam"))]
    username: String,
    /// As it was typed.
    #[schema(examples("sam@example.com"))]
    email: String,
    /// Empty when not given.
    #[schema(examples("Sam Smith"))]
    full_name: String,
}

impl From<&User> for UserOut {
    fn from(user: &User) -> Self {
        // Every column is named, so that a new one is shown or left out on purpose.
        let User {
            id,
            username,
            email,
            full_name,
            email_canonical: _,
            username_canonical: _,
            hashed_password: _,
            created_at: _,
            updated_at: _,
            locale: _,
            first_locale: _,
            password_changed_at: _,
            disabled_at: _,
            email_proven_at: _,
        } = user;
        Self { id: *id, username: username.clone(), email: email.to_string(), full_name: full_name.clone() }
    }
}

/// Who am I?
#[utoipa::path(
    get,
    path = urls::USERS_ME,
    operation_id = "get_me",
    tag = "users",
    security(("password" = [])),
    responses(
        (status = 200, description = "The token's user", body = UserOut,
            example = json!({"id": "01a203d9-ab8e-76eb-ba49-c3e996b26789", "username": "sam",
                "email": "sam@example.com", "full_name": "Sam Smith"})),
        (status = 401, description = "No token, or none that is good", body = Detail,
            headers(("WWW-Authenticate" = String, description = "`Bearer`, and `error=\"invalid_token\"` if a token was sent")),
            example = json!({"detail": "Could not validate credentials"})),
    )
)]
pub async fn me(Caller(user): Caller) -> ApiResult<Json<UserOut>> {
    Ok(Json((&*user).into()))
}
