//! What every request of each door passes: it gets an ID, a span and a language, its time and its body are bounded, every
//! failure gets its words, and every answer gets its headers.

pub mod app_proof;
pub mod body;
pub mod client;
pub mod cookies;
pub mod error;
pub mod form;
pub mod headers;
pub mod host;
pub mod origin;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::field::Empty;
use tracing::{Instrument, debug, error_span};

use crate::app::App;
use crate::locale::Locale;
use crate::urls;
use client::{Language, RequestId};
use error::Error;

/// How long a request may take in all, including its body and the wait for the hash.
pub const HANDLER_TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the language of a request before its user is known.
type FindLanguage = fn(&App, &HeaderMap) -> Language;
/// Returns the answer for a failure, in a language and with the request ID.
type AnswerFailure = fn(&App, Locale, RequestId, &Error) -> Response;

/// What differs between the doors.
pub struct Gate {
    app: Arc<App>,
    language: FindLanguage,
    failure: AnswerFailure,
    policy: HeaderValue,
    /// Whether browsers see the answers at the origin of an app.
    elsewhere: bool,
}

impl Gate {
    /// Returns the gate of one door.
    pub fn new(app: Arc<App>, language: FindLanguage, failure: AnswerFailure) -> Self {
        let policy = headers::content_security_policy(&app, &[]);
        Self { app, language, failure, policy, elsewhere: false }
    }

    /// Returns the gate of a door whose answers a browser may see at the origin of an app.
    #[must_use]
    pub fn elsewhere(self) -> Self {
        Self { elsewhere: true, ..self }
    }
}

/// Wraps everything else: gives the request its ID, span and language, bounds its time, gives every failure its words, a
/// panic included, and every answer its headers. The query is not logged, because it may be a token.
pub async fn around(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let id = RequestId::random();
    let language = (gate.language)(&gate.app, request.headers());
    request.extensions_mut().insert(language);
    request.extensions_mut().insert(id);
    // A path of an app is not ours to log: it may be a token too.
    let path = if gate.elsewhere { urls::VERIFY } else { cut(request.uri().path()) };
    // An app that speaks for a person, and its address, are known later.
    let (app, peer) = (Empty, Empty);
    let span = error_span!("request", %id, method = %request.method(), path, app, peer);
    // A path that is not routed has none, so no path that a client makes up becomes a label of a metric.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (method, version) = (request.method().clone(), request.version());
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
        if let Some(error) = Error::of(&mut response) {
            response = explained(&gate, language.locale, id, &error, &response);
        }
        if gate.elsewhere {
            headers::add_elsewhere(id, response.headers_mut());
        } else {
            headers::add(&gate.app, &gate.policy, id, response.headers_mut());
        }
        if gate.app.is_stopping() && version < Version::HTTP_2 {
            // A proxy opens another connection, to another server. On one that it had kept, a request could meet the stop.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let (status, took) = (response.status().as_u16(), began.elapsed());
        gate.app.metrics.answered(route.as_ref().map(MatchedPath::as_str), method.as_str(), status, took);
        debug!(status, took = took.as_secs_f64(), "answered");
        response
    };
    work.instrument(span).await
}

/// Returns the first 200 bytes of a client's text, which is all that one line of the log takes: a client must not be able
/// to fill the disk.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(200)]
}

/// Returns the answer with the words of its failure, and writes the failure's line into the log.
fn explained(gate: &Gate, locale: Locale, id: RequestId, error: &Error, response: &Response) -> Response {
    error.log();
    let mut explained = (gate.failure)(&gate.app, locale, id, error);
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            explained.headers_mut().append(name, value.clone());
        }
    }
    if let Some(seconds) = error.kind.retry_after() {
        explained.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    explained
}
