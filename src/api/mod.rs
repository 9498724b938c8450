//! The door for programs: JSON in, JSON out, a bearer token and never the cookie. The verbs are those of the pages.

mod body;
mod document;
mod error;
mod login;
mod password_reset;
mod profile;
mod signup;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde_json::Value;

use crate::app::App;
use crate::gate::client::Language;
use crate::gate::error::Error;
use crate::gate::{self, Gate, origin};
use crate::urls;

pub use document::document;

/// Every path of this door, and its description at one. Each is taken with a slash at its end and without.
pub fn router(app: Arc<App>, openapi: &Value) -> Router {
    // Bytes that all answers share: anybody may ask, as often as they like.
    let openapi = Bytes::from(openapi.to_string());
    let described = async move || ([(header::CONTENT_TYPE, "application/json")], openapi.clone());
    let gate = Gate::new(app.clone(), Language::accepted, error::json);
    let doors = [
        (urls::USERS, post(signup::create)),
        (urls::USERS_ME, get(profile::me)),
        (urls::TOKEN, post(login::token)),
        (urls::API_RESET_PASSWORD, get(password_reset::form).post(password_reset::ask)),
        (urls::API_COMPLETE_RESET_PASSWORD, post(password_reset::complete)),
        (urls::OPENAPI, get(described)),
    ];
    let mut router = Router::new();
    for (path, methods) in doors {
        let bare = path.trim_end_matches('/');
        router = router.route(bare, methods.clone()).route(&format!("{bare}/"), methods);
    }
    // What is not there is said in JSON too.
    for part in [urls::USERS, urls::API_RESET_PASSWORD, urls::API_COMPLETE_RESET_PASSWORD] {
        router = router.route(&format!("{part}{{*rest}}"), any(async || Error::not_found()));
    }
    let before = from_fn_with_state(app.clone(), before);
    router.layer(before).layer(from_fn_with_state(Arc::new(gate), gate::around)).with_state(app)
}

/// Before a handler sees a request: it does not come from a page of another site, and its body is bounded in size and
/// time.
///
/// This door knows no cookie, so that no page can act for its visitor. But attempts and letters are counted by the
/// client's address, and a page could spend those of its visitor: browsers send a form to /token without a preflight.
async fn before(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if let Err(error) = origin::check(&app, &request) {
        return error.into_response();
    }
    match gate::take_body(request).await {
        Ok((request, body)) => next.run(request.map(|_| body.into())).await,
        Err(status) => Error::from(status).into_response(),
    }
}
