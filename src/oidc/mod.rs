//! The door for apps: OpenID Connect (Core 1.0, Discovery 1.0). What a user sees of it, the pages, is in `web`.
//!
//! Nothing here reads a cookie. So a page of any site may read the answers, with a script of an app that has no server.

mod discovery;
mod error;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;

use crate::app::App;
use crate::gate::client::Language;
use crate::gate::{self, Gate};
use crate::urls;

/// Returns all paths of this door.
pub fn router(app: Arc<App>) -> Router {
    let gate = Gate::new(app.clone(), Language::accepted, error::json);
    Router::new()
        .route(urls::JWKS, get(discovery::jwks))
        .layer(from_fn(for_every_page))
        .layer(from_fn_with_state(Arc::new(gate), gate::around))
        .with_state(app)
}

/// Lets the scripts of every site read the answer. It says nothing that its reader does not prove to know already.
async fn for_every_page(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
