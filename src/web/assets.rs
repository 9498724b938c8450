//! The style sheet, the script and the icon: inside the binary, named after their content, so that browsers
//! may keep them for ever and a new version is a new name.

use std::io::Write;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::error::Error;
use crate::urls;

struct Asset {
    path: String,
    kind: &'static str,
    plain: &'static [u8],
    gzip: Vec<u8>,
}

static CSS: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("app", "css", "text/css; charset=utf-8", include_bytes!("../../static/app.css")));
static JS: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("app", "js", "text/javascript; charset=utf-8", include_bytes!("../../static/app.js")));
static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_bytes!("../../static/icon.svg")));

impl Asset {
    fn new(stem: &str, extension: &str, kind: &'static str, plain: &'static [u8]) -> Self {
        let hash = Sha256::digest(plain).iter().take(6).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(plain).expect("memory takes all");
        let gzip = gzip.finish().expect("memory takes all");
        Self { path: format!("{}{stem}.{hash}.{extension}", urls::STATIC), kind, plain, gzip }
    }
}

/// The style sheet's path.
pub fn css() -> &'static str {
    &CSS.path
}

/// The script's path.
pub fn js() -> &'static str {
    &JS.path
}

/// The icon's path.
pub fn icon() -> &'static str {
    &ICON.path
}

/// GET /favicon.ico: what browsers ask for where no page names an icon.
pub async fn favicon() -> Redirect {
    Redirect::to(icon())
}

/// GET /static/{name}
pub async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Error> {
    let path = format!("{}{name}", urls::STATIC);
    let asset = [&*CSS, &*JS, &*ICON].into_iter().find(|asset| asset.path == path).ok_or_else(Error::not_found)?;
    let accepts = headers.get(header::ACCEPT_ENCODING).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
    let fixed = [
        (header::CONTENT_TYPE, asset.kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::VARY, "Accept-Encoding"),
    ];
    Ok(if accepts.split(',').any(|coding| coding.trim().split(';').next() == Some("gzip")) {
        (fixed, [(header::CONTENT_ENCODING, "gzip")], asset.gzip.as_slice()).into_response()
    } else {
        (fixed, asset.plain).into_response()
    })
}
