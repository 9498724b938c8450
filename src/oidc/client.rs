//! Which app asks, and how it shows that (RFC 6749, 2.3; OpenID Connect Core, 9).

use axum::http::HeaderMap;

use super::error::Problem;
use crate::accounts::Client;
use crate::accounts::app_proof::{self, Unproven};
use crate::accounts::apps::Application;
use crate::app::App;
use crate::gate::app_proof::{Shown, Unclear};
use crate::gate::form::Fields;

/// Returns the app that sends a request: by `client_secret_basic`, `client_secret_post` or `private_key_jwt`, or, if it is public, by
/// its name alone.
///
/// # Errors
/// When no app is named, when it shows something else than its own, or two things. When this client has failed too often.
pub async fn authenticate(
    app: &App,
    client: &Client,
    headers: &HeaderMap,
    form: &Fields,
) -> Result<Application, Problem> {
    counted(app, client, identify(app, client, headers, form).await).await
}

/// As [`authenticate`], for what a public app may not do.
///
/// # Errors
/// As [`authenticate`], and when the app is public.
pub async fn not_public(
    app: &App,
    client: &Client,
    headers: &HeaderMap,
    form: &Fields,
) -> Result<Application, Problem> {
    let found = identify(app, client, headers, form).await;
    let found = found.and_then(|found| if found.public { Err(Problem::Unknown(false)) } else { Ok(found) });
    counted(app, client, found).await
}

/// Counts a client that is no app, or that tries what an app without a secret has got.
pub async fn counted<T>(app: &App, client: &Client, found: Result<T, Problem>) -> Result<T, Problem> {
    if let Err(Problem::Unknown(_) | Problem::NotProven(_) | Problem::Refused("invalid_grant", _)) = found {
        app_proof::failed(&app.accounts, client, app.now()).await?;
    }
    found
}

async fn identify(app: &App, client: &Client, headers: &HeaderMap, form: &Fields) -> Result<Application, Problem> {
    let Shown { id, proof, basic } = Shown::read(headers, form)?;
    let client = (client, app.public_url.origin());
    let found = app_proof::identify(&app.accounts, &app.apps, (&id, &proof), client, app.now()).await?;
    found.map_err(|why| match why {
        Unproven::Unknown => Problem::Unknown(basic),
        Unproven::Assertion(words) => Problem::NotProven(words),
    })
}

impl From<Unclear> for Problem {
    fn from(unclear: Unclear) -> Self {
        match unclear {
            Unclear::TwoProofs => {
                Self::Refused("invalid_request", "send one client_secret or client_assertion, in one way")
            }
            Unclear::TwoIds => {
                Self::Refused("invalid_request", "client_id is another one than in Authorization or client_assertion")
            }
            Unclear::NotBasic => Self::Unknown(true),
            Unclear::NotJwt => {
                Self::NotProven("client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            }
        }
    }
}
