//! What every request passes before a page sees it.

use std::error::Error as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http_body_util::LengthLimitError;
use tracing::{Instrument, debug, info_span};

use super::cookie;
use super::error::{self, Error};
use super::language;
use super::replay::{self, Answers};
use crate::app::App;
use crate::chance;

/// The most bytes of a body; the longest honest form is under 2 KiB.
const BODY_MAX: usize = 16 * 1024;
/// How long a request may take in all, the wait for the hash included.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long of that its body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Around everything: the request's id, span and language, a bound on its time, a page for every failure, a panic
/// included, and the headers of every answer. The query stays out of the log: it may be a token.
pub async fn around(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let id = request_id();
    let locale = language::of_browser(&app, request.headers());
    request.extensions_mut().insert(locale);
    let span = info_span!("request", id, method = %request.method(), path = request.uri().path());
    let work = async {
        let began = Instant::now();
        let unwinding = AssertUnwindSafe(next.run(request)).catch_unwind();
        let mut response = match tokio::time::timeout(HANDLER_TIMEOUT, unwinding).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => Error::internal("a panic; its place is on stderr").into_response(),
            Err(_) => Error::unavailable("the request took too long").into_response(),
        };
        if response.status().is_client_error() || response.status().is_server_error() {
            response = error::with_page(&app, locale, &id, response);
        }
        add_headers(&app, &id, response.headers_mut());
        debug!(status = response.status().as_u16(), ms = began.elapsed().as_millis(), "answered");
        response
    };
    work.instrument(span).await
}

/// Links a page to its lines in the log.
fn request_id() -> String {
    format!("{:016x}", u64::from_le_bytes(chance::bytes()))
}

/// The headers of every answer, errors too.
fn add_headers(app: &App, id: &str, headers: &mut HeaderMap) {
    /// Nothing but our own files, no inline code, no frames around us: what slips into a page cannot run,
    /// load or send anything.
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                          connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    const FIXED: [(HeaderName, &str); 5] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not no-referrer: with that, Chromium sends `Origin: null` on our own forms.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), CLOSED),
    ];
    const CLOSED: &str = "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), fullscreen=(), \
                          geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), \
                          picture-in-picture=(), screen-wake-lock=(), usb=(), xr-spatial-tracking=()";

    headers.reserve(FIXED.len() + 4); // once, not a few at a time
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Pages of an account are never kept, so that “back” after log-out shows the log-in.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if app.public_url.is_https() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=63072000"));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}

/// What [`before`] needs.
pub struct Gate {
    /// The shared state.
    pub app: Arc<App>,
    /// The answers to forms.
    pub answers: Arc<Answers>,
}

/// Before a page sees a request: it is ours, it has only our cookies, it is not too much, and it is new.
pub async fn before(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    if let Err(why) = came_from(&gate.app, &request) {
        return Error::cross_site(why).into_response();
    }
    cookie::keep_ours(&gate.app, request.headers_mut());
    let mut response = if reads_only(&request) {
        next.run(request).await
    } else {
        match take_body(request).await {
            Ok((request, body)) => replay::answer_once(&gate.answers, request, body, next).await,
            Err(status) => Error::from(status).into_response(),
        }
    };
    cookie::make_secure(&gate.app, response.headers_mut());
    response
}

fn reads_only(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Takes the body, at most 16 KiB of it and for at most ten seconds.
async fn take_body(request: Request) -> Result<(Request, Bytes), StatusCode> {
    let (parts, body) = request.into_parts();
    let declared =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > BODY_MAX as u64) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_MAX)).await {
        Ok(Ok(body)) => Ok((Request::from_parts(parts, Body::empty()), body)),
        Ok(Err(error)) if error.source().is_some_and(|source| source.is::<LengthLimitError>()) => {
            Err(StatusCode::PAYLOAD_TOO_LARGE)
        }
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// Refuses what another site makes a browser send (CSRF), log-in and sign-up included, so that nobody can
/// be logged in to a stranger's account either. There are no tokens in forms; a page left open overnight
/// still works (OWASP, CSRF Prevention Cheat Sheet, “Fetch Metadata headers”).
fn came_from(app: &App, request: &Request) -> Result<(), String> {
    if reads_only(request) {
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
        (None, None) if cookie::any(app, request.headers()) => Err("a cookie of ours without Origin".into()),
        (None, None) => Ok(()),
    }
}
