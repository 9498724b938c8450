//! Failures as OAuth has them (RFC 6749, 5.2): `{"error", "error_description"}`.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use crate::app::App;
use crate::gate::client::RequestId;
use crate::gate::error::{Error, ErrorKind, Explained};
use crate::locale::Locale;

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    error_description: &'a str,
}

/// The reason why an app gets nothing.
#[derive(Debug)]
pub enum Problem {
    /// A failure on our side, or before the handler.
    Failed(Error),
    /// A refusal: its code, and words for the developer of the app.
    Refused(&'static str, &'static str),
    /// It is not known which app asks. `true` if it has sent `Authorization`, which the answer has to name then.
    Unknown(bool),
    /// What an app has signed does not show who it is, for this reason.
    NotProven(&'static str),
    /// An access token opens nothing here, for this reason. Without a token there is none (RFC 6750, 3.1).
    NoAccess(Option<&'static str>),
}

impl<E: Into<Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = |error, error_description| Json(Body { error, error_description });
        let explained = match self {
            Self::Failed(error) => return error.into_response(),
            Self::Refused(error, words) => (StatusCode::BAD_REQUEST, body(error, words)).into_response(),
            Self::Unknown(basic) => {
                let challenge = basic.then_some([(header::WWW_AUTHENTICATE, "Basic realm=\"latchkey\"")]);
                let body = body("invalid_client", "no app has this client_id and client_secret");
                (StatusCode::UNAUTHORIZED, challenge, body).into_response()
            }
            Self::NotProven(words) => (StatusCode::UNAUTHORIZED, body("invalid_client", words)).into_response(),
            Self::NoAccess(None) => (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response(),
            Self::NoAccess(Some(error)) => {
                let status =
                    if error == "insufficient_scope" { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
                let challenge = [(header::WWW_AUTHENTICATE, format!("Bearer error=\"{error}\""))];
                (status, challenge, body(error, "the access token opens nothing here")).into_response()
            }
        };
        (Extension(Explained), explained).into_response()
    }
}

/// Returns the answer for a failure. Its words are for developers, and in English: RFC 6749 allows ASCII only.
pub fn json(_: &App, _: Locale, _: RequestId, error: &Error) -> Response {
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
