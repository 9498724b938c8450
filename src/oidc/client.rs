//! Which app asks, and how it shows that (RFC 6749, 2.3; OpenID Connect Core, 9).

use axum::http::HeaderMap;

use super::error::Problem;
use crate::accounts::apps::{self, Application};
use crate::app::App;
use crate::gate::app_secret::{Shown, Unclear};
use crate::gate::form::Fields;

/// Returns the app that sends a request: by `client_secret_basic`, by `client_secret_post`, or, if it has no secret, by its
/// name alone.
///
/// # Errors
/// When no app is named, when it has another secret, or when it shows two.
pub async fn authenticate(app: &App, headers: &HeaderMap, form: &Fields) -> Result<Application, Problem> {
    let Shown { id, secret, basic } = Shown::read(headers, form)?;
    let unknown = || Problem::Unknown(basic);
    let found = apps::by_id(app.db.read(), id.parse().map_err(|_| unknown())?).await?.ok_or_else(unknown)?;
    let shown = match secret {
        Some(secret) => found.has_secret(&secret),
        None => found.public,
    };
    if shown { Ok(found) } else { Err(unknown()) }
}

impl From<Unclear> for Problem {
    fn from(unclear: Unclear) -> Self {
        match unclear {
            Unclear::TwoSecrets => Self::Refused("invalid_request", "client_secret came in two ways"),
            Unclear::TwoIds => Self::Refused("invalid_request", "client_id is another one than in Authorization"),
            Unclear::NotBasic => Self::Unknown(true),
        }
    }
}
