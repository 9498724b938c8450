//! The port for plain HTTP beside TLS: every response says only where the site is.

use axum::Router;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::IntoResponse;

use crate::urls::PublicUrl;

/// Sends every request to the same path of the site itself. The name in `Host` is not used, because a client can write any
/// name there. The status is 308 and not 301: a program that posts here by mistake goes on posting, to the right address.
pub fn router(public_url: PublicUrl) -> Router {
    Router::new().fallback(async move |uri: Uri| {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path } else { "/" }; // as in OPTIONS *
        match HeaderValue::try_from(public_url.at(path)) {
            Ok(location) => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response(),
            Err(_) => StatusCode::BAD_REQUEST.into_response(),
        }
    })
}
