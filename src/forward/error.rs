//! Failures in one line of text: the proxy's operator reads it, or a user at the app.

use axum::Extension;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::gate::client::RequestId;
use crate::gate::error::{Error, ErrorKind, Explained};
use crate::locale::Locale;

/// Returns the answer for a failure. A proxy lets nothing through for it.
pub fn text(_: &App, _: Locale, id: RequestId, error: &Error) -> Response {
    let status = error.kind.status();
    let words = match error.kind {
        ErrorKind::Busy | ErrorKind::Unavailable => {
            "The server cannot check who is logged in at the moment. Try again soon."
        }
        ErrorKind::Internal => "Something went wrong.",
        _ => status.canonical_reason().unwrap_or_default(),
    };
    (status, format!("{words}\nRequest {id}\n")).into_response()
}

/// Returns a refusal that has its words.
pub fn refused(status: StatusCode, words: &str) -> Response {
    (status, Extension(Explained), format!("{words}\n")).into_response()
}
