//! Who a token belongs to.

use std::sync::Arc;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{Answer, Detail, Problem};
use crate::accounts::session::{self, Kind};
use crate::accounts::user::User;
use crate::app::App;
use crate::gate::client::{self, Language};

/// Whose token came with the request. A handler that names it is closed to anyone else.
pub struct Caller(User);

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
        // The row is the truth: a token whose session has ended is worth nothing.
        let found = session::find(app.db.read(), Kind::Api, pointer.session, now).await?;
        let (session, user) = found.filter(|(_, user)| user.id == pointer.user).ok_or_else(refused)?;
        session::touch(app.db.write(), &session, app.accounts.lifetimes, || client::ip(parts, app), now).await?;
        Ok(Self(user))
    }
}

/// A user, as others may see them.
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

impl From<User> for UserOut {
    fn from(user: User) -> Self {
        let User { id, username, email, full_name, .. } = user;
        Self { id, username, email, full_name }
    }
}

/// Who am I?
#[utoipa::path(
    get,
    path = "/users/me/",
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
pub async fn me(Caller(user): Caller) -> Answer<Json<UserOut>> {
    Ok(Json(user.into()))
}
