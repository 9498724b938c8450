//! The door for programs. They send and receive JSON, and show a bearer token, never the cookie. The verbs are those of
//! the pages.

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
use axum::routing::{MethodRouter, any, get};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::app::App;
use crate::gate::client::Language;
use crate::gate::error::Error;
use crate::gate::{self, Gate, origin};
use crate::urls;

/// Returns the operations, in the order of the description. Each handler states its path and its method.
fn operations() -> [UtoipaMethodRouter<Arc<App>>; 5] {
    [
        routes!(signup::create),
        routes!(login::token),
        routes!(profile::me),
        routes!(password_reset::form, password_reset::ask),
        routes!(password_reset::complete),
    ]
}

/// Returns all paths of this door, and their description, which one of the paths serves.
///
/// # Errors
/// When the description cannot be written as JSON.
pub fn router(app: Arc<App>) -> serde_json::Result<(Router, OpenApi)> {
    let mut described = OpenApiRouter::new();
    let mut twins = Router::new();
    for (schemas, paths, methods) in operations() {
        for path in paths.paths.keys() {
            twins = twin(twins, path, &methods);
        }
        described = described.routes((schemas, paths, methods));
    }
    let (operations, mut description) = described.split_for_parts();
    document::complete(&mut description, &app);

    // All responses share these bytes, because the number of requests for them is not limited.
    let json = Bytes::from(description.to_json()?);
    let describe = get(async move || ([(header::CONTENT_TYPE, "application/json")], json.clone()));
    let twins = twin(twins, urls::OPENAPI, &describe);
    let router = operations.merge(twins).route(urls::OPENAPI, describe);

    let gate = Arc::new(Gate::new(app.clone(), Language::accepted, error::json));
    let layers = (from_fn_with_state(gate, gate::around), from_fn_with_state(app.clone(), before));
    Ok((router.layer(layers).with_state(app), description))
}

/// Adds the twin of a path, which ends with a slash where the path does not. Below a path that ends with a slash there is
/// nothing, and the client is told so in JSON.
fn twin(router: Router<Arc<App>>, path: &str, methods: &MethodRouter<Arc<App>>) -> Router<Arc<App>> {
    match path.strip_suffix('/') {
        Some(bare) => {
            let below = format!("{path}{{*rest}}");
            router.route(bare, methods.clone()).route(&below, any(async || Error::not_found()))
        }
        None => router.route(&format!("{path}/"), methods.clone()),
    }
}

/// Refuses a request that comes from a page of another site, and limits the size of the body and the time it may take.
///
/// No page can act for its visitor here, because this door reads no cookie. But attempts and letters are counted by the
/// client's address, and a page of another site could use up those of its visitor: browsers send a form to /token without
/// a preflight.
async fn before(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if let Err(error) = origin::check(&app, &request) {
        return error.into_response();
    }
    match gate::body::take(request).await {
        Ok((request, body)) => next.run(request.map(|_| body.into())).await,
        Err(error) => error.into_response(),
    }
}
