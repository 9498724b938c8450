//! The files of the site's [`Look`](crate::look::Look). Browsers may keep them, because a new version has a new name.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};

use crate::app::App;
use crate::gate::error::Error;
use crate::urls;

/// GET /favicon.ico: browsers ask for it where no page names an icon.
pub async fn favicon(State(app): State<Arc<App>>) -> Redirect {
    Redirect::to(&app.look.icon.path)
}

/// GET /static/{name}
pub async fn serve(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let asset = app.look.at(&format!("{}{name}", urls::STATIC)).ok_or_else(Error::not_found)?;
    let accepts = headers.get(header::ACCEPT_ENCODING).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
    let fixed = [
        (header::CONTENT_TYPE, asset.kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::VARY, "Accept-Encoding"),
    ];
    let unpacks = accepts.split(',').any(|coding| coding.trim().split(';').next() == Some("gzip"));
    let mut response = match &asset.gzip {
        Some(gzip) if unpacks => (fixed, [(header::CONTENT_ENCODING, "gzip")], gzip.clone()).into_response(),
        _ => (fixed, asset.plain.clone()).into_response(),
    };
    if asset.kind == "image/svg+xml" {
        // Some browsers apply a picture's own policy to it, and would drop the colours in its `<style>`. When it is
        // opened by itself, it is in a sandbox, without script.
        let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}
