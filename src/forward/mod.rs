//! The door for proxies: one of them asks who is there, before it lets a request through to an app that knows nothing of
//! log-ins (forward-auth). The page by which a browser gets its forward cookie is in `web`.
//!
//! Proxies hand answers on to browsers, which see them at the origin of the app. So no answer has a link or a file of its own
//! origin, and none says what the app's pages may do.

mod error;
mod original;
mod refusal;
mod verify;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::any;

use crate::app::App;
use crate::gate::client::Language;
use crate::gate::{self, Gate};
use crate::urls;

/// Returns all paths of this door. Envoy writes the path of the original request after ours.
pub fn router(app: Arc<App>) -> Router {
    let gate = Gate::new(app.clone(), Language::accepted, error::text).elsewhere();
    Router::new()
        .route(urls::VERIFY, any(verify::answer))
        .route(urls::VERIFY_ROOT, any(verify::answer))
        .route(urls::VERIFY_REST, any(verify::answer))
        .layer(from_fn_with_state(Arc::new(gate), gate::around))
        .with_state(app)
}
