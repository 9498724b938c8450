//! What every request passes, by whichever door it comes: its id and span, its language, a bound on its time and
//! its body, an answer to every failure, and the headers of every answer.

pub mod client;
pub mod error;
pub mod form;
pub mod host;
pub mod origin;
pub mod words;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use tracing::{Instrument, debug, error, info_span, warn};

use crate::accounts::event::Kind;
use crate::accounts::limit::TooMany;
use crate::accounts::{self, security};
use crate::app::App;
use crate::chance;
use crate::locale::Locale;
use crate::notice::Notice;
use crate::throttle::{Full, Limit};
use client::{Language, RequestId};
use error::Error;

/// The most bytes of a body; the longest honest form is under 2 KiB.
const BODY_MAX: usize = 16 * 1024;
/// How long a request may take in all, the wait for the hash included.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long of that its body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Which language a request gets before anybody is known.
type ToLanguage = fn(&App, &HeaderMap) -> Language;
/// What a failure looks like, in a language, with the request's id.
type ToFailure = fn(&App, Locale, &str, &Error) -> Response;

/// What a door does its own way.
pub struct Gate {
    app: Arc<App>,
    language: ToLanguage,
    failure: ToFailure,
    policy: HeaderValue,
}

impl Gate {
    /// The gate of one door.
    pub fn new(app: Arc<App>, language: ToLanguage, failure: ToFailure) -> Self {
        let policy = content_security_policy(&app);
        Self { app, language, failure, policy }
    }
}

/// Nothing but our own files, no inline code, no frames around us: what slips into a page cannot run, load or send
/// anything.
fn content_security_policy(app: &App) -> HeaderValue {
    // Chromium holds the redirect after a form to `form-action` too, and a log-in leads home.
    let home = app.config.home_url.as_ref().map_or_else(String::new, |home| format!(" {}", home.origin()));
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'{home}; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("an origin is ASCII")
}

/// Around everything: the request's id, span and language, a bound on its time, an answer to every failure, a
/// panic included, and the headers of every answer. The query stays out of the log: it may be a token.
pub async fn around(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let id = request_id();
    let language = (gate.language)(&gate.app, request.headers());
    request.extensions_mut().insert(language);
    request.extensions_mut().insert(RequestId(id.clone()));
    let path = request.uri().path();
    let span = info_span!("request", id, method = %request.method(), path = cut(path));
    // A path that leads nowhere has none, whatever it is.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let work = async {
        let began = Instant::now();
        client::warn_of_unknown_proxy(&gate.app, &request);
        let answer = async {
            match host::check(&gate.app, &request) {
                Ok(()) => next.run(request).await,
                Err(error) => error.into_response(),
            }
        };
        let unwinding = AssertUnwindSafe(answer).catch_unwind();
        let mut response = match tokio::time::timeout(HANDLER_TIMEOUT, unwinding).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => Error::internal("a panic; its place is on stderr").into_response(),
            Err(_) => Error::unavailable("the request took too long").into_response(),
        };
        if response.status().is_client_error() || response.status().is_server_error() {
            response = explained(&gate, language.locale, &id, response);
        }
        add_headers(&gate, &id, response.headers_mut());
        let (status, took) = (response.status().as_u16(), began.elapsed());
        gate.app.metrics.answered(route.as_ref().map(MatchedPath::as_str), method.as_str(), status, took);
        debug!(status, took = took.as_secs_f64(), "answered");
        response
    };
    work.instrument(span).await
}

/// What a line of the log takes of a stranger's text: it must not be a way to fill the disk.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(200)]
}

/// Links an answer to its lines in the log.
fn request_id() -> String {
    format!("{:016x}", u64::from_le_bytes(chance::bytes()))
}

/// Gives a failure its words, whoever it comes from: a handler, a layer, or axum itself; and its line in the log.
fn explained(gate: &Gate, locale: Locale, request_id: &str, mut response: Response) -> Response {
    let mut status = response.status();
    let known = response.extensions_mut().remove::<Error>();
    // A form that needs another try (422) or a spent link (410) has its words already.
    let kind = response.headers().get(header::CONTENT_TYPE);
    if known.is_none() && kind.is_some_and(|kind| kind != "text/plain; charset=utf-8") {
        return response;
    }
    if known.is_none() && status == StatusCode::INTERNAL_SERVER_ERROR {
        // tower-sessions' own: a visit that could not be written.
        status = StatusCode::SERVICE_UNAVAILABLE;
    }
    let error = Error { status, ..known.unwrap_or_else(|| status.into()) };
    match (&error.cause, status.is_server_error()) {
        (Some(cause), _) if error.is_busy => turned_away(cause),
        // Metrics count these, and the first one of a client is an event. A line for each would be a way to fill the disk.
        (cause, _) if error.too_many.is_some() => debug!(status = status.as_u16(), cause, "refused"),
        (cause, true) => error!(status = status.as_u16(), cause = cause.as_deref().unwrap_or("unknown"), "failed"),
        (Some(cause), false) => refused(status, cut(cause)),
        (None, false) => {}
    }
    let mut explained = (gate.failure)(&gate.app, locale, request_id, &error);
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            explained.headers_mut().append(name, value.clone());
        }
    }
    let wait = match error.too_many {
        Some(too_many) => Some(too_many.wait().whole_seconds()),
        None => (status == StatusCode::SERVICE_UNAVAILABLE).then_some(5),
    };
    if let Some(seconds) = wait {
        explained.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    explained
}

/// Notes a request that was refused, which any stranger can cause: a line for each at debug, where an operator finds it
/// by its request ID, and otherwise a line a minute. `http_requests_total` counts them all by their status.
fn refused(status: StatusCode, cause: &str) {
    static REFUSED: Notice = Notice::new();
    let status = status.as_u16();
    debug!(status, cause, "refused");
    if let Some(count) = REFUSED.count(Instant::now()) {
        warn!(count, status, cause, "requests were refused; this is the last of them");
    }
}

/// Notes a request that found the queue for the hash full. Any stranger can fill it; `hash_busy_total` counts them all.
fn turned_away(cause: &str) {
    static BUSY: Notice = Notice::new();
    if let Some(turned_away) = BUSY.count(Instant::now()) {
        warn!(turned_away, "{cause}");
    }
}

/// Notes a request that was refused because all clients together ask for more than the site takes in.
fn flooded(app: &App, limit: Limit) {
    static FLOODED: Notice = Notice::new();
    app.metrics.site_refused.inc();
    if let Some(count) = FLOODED.count(Instant::now()) {
        warn!(count, ?limit, "more clients ask than the site takes in; they were told to come again");
    }
}

/// Takes one of the tries that this client has, at whatever account.
///
/// # Errors
/// 429 when there are none left, 503 when all clients together have used up the site's.
pub async fn throttle(app: &App, limit: Limit, client: &accounts::Client) -> Result<(), Error> {
    let now = app.now();
    let taken = app.throttle.take(limit, &client.ip, now).map_err(|full| {
        if matches!(limit, Limit::LogIn | Limit::KnownLogIn) {
            app.metrics.log_ins.refused.inc();
        }
        match full {
            Full::Client(wait) => TooMany::Client(wait),
            Full::Site(wait) => {
                flooded(app, limit);
                TooMany::Site(wait)
            }
        }
    })?;
    // A few times, not for each that follows: what is noted must not be a way to fill the disk.
    if taken.last && app.throttle.take(Limit::Note, &client.ip, now).is_ok() {
        security::note(&app.accounts, Kind::LimitHit, None, client, now).await?;
    }
    Ok(())
}

/// The headers of every answer, errors too.
fn add_headers(Gate { app, policy, .. }: &Gate, id: &str, headers: &mut HeaderMap) {
    const FIXED: [(HeaderName, &str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not no-referrer: with that, Chromium sends `Origin: null` on our own forms.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), CLOSED),
    ];
    const CLOSED: &str = "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), fullscreen=(), \
                          geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), \
                          picture-in-picture=(), screen-wake-lock=(), usb=(), xr-spatial-tracking=()";

    /// Two years (RFC 6797, 6.1).
    const HSTS: &str = "max-age=63072000";
    const HSTS_WITH_SUBDOMAINS: &str = "max-age=63072000; includeSubDomains";

    headers.reserve(FIXED.len() + 5); // once, not a few at a time
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert_with(|| policy.clone());
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if app.public_url.is_trustworthy() {
        headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    }
    // For browsers that know nothing of `frame-ancestors` (clickjacking; RFC 7034).
    headers.entry(header::X_FRAME_OPTIONS).or_insert(HeaderValue::from_static("DENY"));
    // Pages of an account are never kept, so that “back” after log-out shows the log-in.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if app.public_url.is_https() {
        let hsts = if app.config.hsts_covers_subdomains() { HSTS_WITH_SUBDOMAINS } else { HSTS };
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(hsts));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}

/// Takes the body, at most 16 KiB of it and for at most ten seconds.
pub async fn take_body(request: Request) -> Result<(Request, Bytes), StatusCode> {
    let (parts, body) = request.into_parts();
    let declared =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > BODY_MAX as u64) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let body = tokio::time::timeout(BODY_TIMEOUT, read(body)).await.map_err(|_| StatusCode::REQUEST_TIMEOUT)??;
    Ok((Request::from_parts(parts, Body::empty()), body))
}

/// Copies the frames of a body together. Kept as they came, each would hold the whole buffer that it was received in,
/// and a body that comes a byte at a time would hold a thousand times what it counts for.
async fn read(mut body: Body) -> Result<Bytes, StatusCode> {
    let mut read = Vec::with_capacity(body.size_hint().lower().min(BODY_MAX as u64) as usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        if read.len() + data.len() > BODY_MAX {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        read.extend_from_slice(data);
    }
    Ok(read.into())
}
