//! What every request passes before a page sees it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::{Instrument, debug, info_span};

use super::cookie;
use super::error::Error;
use crate::app::App;
use crate::chance;

/// The most bytes of a body; the longest honest form is under 2 KiB.
pub const BODY_MAX: usize = 16 * 1024;
/// How long a request may take in all, the wait for the hash included.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(30);

/// Links a page to its lines in the log.
#[derive(Clone, Debug, Default)]
pub struct RequestId(pub String);

/// Gives the request its id and its span, and turns a panic into a failure like any other. The query stays
/// out of the log: it may be a token.
pub async fn trace(mut request: Request, next: Next) -> Response {
    let id = chance::bytes::<8>().iter().fold(String::with_capacity(16), |hex, byte| format!("{hex}{byte:02x}"));
    let span = info_span!("request", id, method = %request.method(), path = request.uri().path());
    request.extensions_mut().insert(RequestId(id.clone()));
    async move {
        let began = Instant::now();
        let mut response = next.run(request).await;
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert("x-request-id", id);
        }
        debug!(status = response.status().as_u16(), ms = began.elapsed().as_millis(), "answered");
        response
    }
    .instrument(span)
    .await
}

/// The headers of every answer, errors too.
pub async fn headers(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    /// Nothing but our own files, no inline code, no frames around us: what slips into a page cannot run,
    /// load or send anything.
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                          connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    const FIXED: [(header::HeaderName, &str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not no-referrer: with that, Chromium sends `Origin: null` on our own forms.
        (header::REFERRER_POLICY, "same-origin"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    const CLOSED: &str = "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), fullscreen=(), \
                          geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), \
                          picture-in-picture=(), screen-wake-lock=(), usb=(), xr-spatial-tracking=()";

    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("permissions-policy", HeaderValue::from_static(CLOSED));
    // Pages of an account are never kept, so that “back” after log-out shows the log-in.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if app.public_url.is_https() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=63072000"));
    }
    response
}

/// Refuses what another site makes a browser send (CSRF), log-in and sign-up included, so that nobody can
/// be logged in to a stranger's account either. There are no tokens in forms; a page left open overnight
/// still works (OWASP, CSRF Prevention Cheat Sheet, “Fetch Metadata headers”).
pub async fn same_origin(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match came_from(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(why) => Error::cross_site(why).into_response(),
    }
}

fn came_from(app: &App, request: &Request) -> Result<(), String> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    match (header("sec-fetch-site"), header("origin")) {
        // `none` is the person's own doing: a reload, a restored tab.
        (Some("same-origin" | "none"), _) => Ok(()),
        (Some(site), _) => Err(format!("Sec-Fetch-Site: {site}")),
        (None, Some(origin)) if origin == app.public_url.origin() => Ok(()),
        (None, Some(origin)) => Err(format!("Origin: {origin}")),
        // Neither: an old browser, or no browser at all. Without our cookies it can do nobody harm.
        (None, None) if cookie::any(request, app) => Err("a cookie of ours without Origin".into()),
        (None, None) => Ok(()),
    }
}

/// Bounds what a request may cost: 16 KiB and 30 s, of which the body may take ten.
pub async fn limits(request: Request, next: Next) -> Response {
    const BODY_TIMEOUT: Duration = Duration::from_secs(10);
    let work = async {
        let (parts, body) = request.into_parts();
        let declared =
            parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > BODY_MAX as u64) {
            return Error::from(StatusCode::PAYLOAD_TOO_LARGE).into_response();
        }
        let body = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_MAX)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error))
                if std::error::Error::source(&error)
                    .is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) =>
            {
                return Error::from(StatusCode::PAYLOAD_TOO_LARGE).into_response();
            }
            Ok(Err(_)) => return Error::from(StatusCode::BAD_REQUEST).into_response(),
            Err(_) => return Error::from(StatusCode::REQUEST_TIMEOUT).into_response(),
        };
        next.run(Request::from_parts(parts, Body::from(body))).await
    };
    let unwinding = std::panic::AssertUnwindSafe(work).catch_unwind();
    match tokio::time::timeout(HANDLER_TIMEOUT, unwinding).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Error::internal("a panic; its place is on stderr").into_response(),
        Err(_) => Error::unavailable("the request took too long").into_response(),
    }
}
