//! Failures as OAuth has them (RFC 6749, 5.2): `{"error", "error_description"}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::app::App;
use crate::gate::error::{Error, ErrorKind};
use crate::locale::Locale;

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    error_description: &'a str,
}

/// Returns the answer for a failure. Its words are for developers, and in English: RFC 6749 allows ASCII only.
pub fn json(_: &App, _: Locale, _: &str, error: &Error) -> Response {
    let (code, words) = match error.kind {
        ErrorKind::BadRequest => ("invalid_request", "the request cannot be read"),
        ErrorKind::CrossSite => ("invalid_request", "a page of another site sent the request"),
        ErrorKind::NotFound => ("invalid_request", "there is nothing at this path"),
        ErrorKind::MethodNotAllowed => ("invalid_request", "this path takes another method"),
        ErrorKind::BodyTimeout => ("invalid_request", "the body took too long to arrive"),
        ErrorKind::TooLarge => ("invalid_request", "the body is too large"),
        ErrorKind::MediaType => {
            ("invalid_request", "the body has another media type than the one that this path takes")
        }
        ErrorKind::Misdirected => ("invalid_request", "the request is for another host"),
        ErrorKind::TooMany(_) => ("temporarily_unavailable", "too many attempts; Retry-After says when to come again"),
        ErrorKind::Busy | ErrorKind::Unavailable => ("temporarily_unavailable", "try again in a moment"),
        ErrorKind::Internal => ("server_error", "something went wrong; x-request-id is its name in the log"),
    };
    (error.kind.status(), Json(Body { error: code, error_description: words })).into_response()
}
