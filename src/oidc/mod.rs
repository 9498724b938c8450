//! The door for apps: OpenID Connect (Core 1.0, Discovery 1.0). What a user sees of it, the pages, is in `web`.
//!
//! Nothing here reads a cookie. So a page of any site may read the answers, with a script of an app that has no server.

pub mod backchannel;
mod client;
mod discovery;
mod error;
mod pushed;
mod revocations;
mod shown_token;
mod token;
mod userinfo;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::app::App;
use crate::gate::client::Language;
use crate::gate::{self, Gate};
use crate::urls;

/// Returns all paths of this door.
pub fn router(app: Arc<App>) -> Router {
    let gate = Arc::new(Gate::new(app.clone(), Language::accepted, error::json));
    Router::new()
        .route(urls::OPENID_CONFIGURATION, get(discovery::configuration))
        .route(urls::OAUTH_METADATA, get(discovery::configuration))
        .route(urls::JWKS, get(discovery::jwks))
        .route(urls::OAUTH_TOKEN, post(token::redeem))
        .route(urls::PUSHED, post(pushed::push))
        .route(urls::REVOKE, post(shown_token::revoke))
        .route(urls::INTROSPECT, post(shown_token::introspect))
        .route(urls::REVOCATIONS, get(revocations::show).post(revocations::show_own))
        .route(urls::USERINFO, get(userinfo::show).post(userinfo::show))
        .layer((from_fn_with_state(gate, gate::around), from_fn(for_every_page)))
        .with_state(app)
}

/// Lets the scripts of every site read the answer. It says nothing that its reader does not prove to know already. A browser
/// asks first whether a script may send what no form can (CORS; Fetch, 4.8).
async fn for_every_page(request: Request, next: Next) -> Response {
    let mut response = if request.method() == Method::OPTIONS {
        let allowed = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type"),
            (header::ACCESS_CONTROL_MAX_AGE, "3600"),
        ];
        (StatusCode::NO_CONTENT, allowed).into_response()
    } else {
        match gate::body::take(request).await {
            Ok((request, body)) => next.run(request.map(|_| body.into())).await,
            Err(error) => error.into_response(),
        }
    };
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
