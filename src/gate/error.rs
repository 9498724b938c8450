//! Failures that end a request: an answer in the door's own form, and one line in the log with the same request ID.

use std::time::Instant;

use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tracing::{debug, error, warn};

use crate::accounts::Fault;
use crate::accounts::limit::TooMany;
use crate::notice::Notice;

/// A kind of failure. The status and the words of an answer follow from it: each door has words for every kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request cannot be read: its body broke off, its head names no host, its path is not UTF-8.
    BadRequest,
    /// A page of another site made the browser send the request.
    CrossSite,
    /// There is nothing at this path.
    NotFound,
    /// There is something at this path, for another method.
    MethodNotAllowed,
    /// The body took too long to arrive.
    BodyTimeout,
    /// The body is larger than we accept.
    TooLarge,
    /// The body has another media type than the one we accept.
    MediaType,
    /// The request is for another host than the site's.
    Misdirected,
    /// A limit is used up.
    TooMany(TooMany),
    /// Too many passwords are waiting to be hashed.
    Busy,
    /// Something that we need is out of reach at the moment.
    Unavailable,
    /// Something happened that should not happen.
    Internal,
}

impl ErrorKind {
    /// Returns the status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::CrossSite => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            // 429 is about this one client (RFC 6585, 4).
            Self::TooMany(TooMany::Client(_) | TooMany::Account(_) | TooMany::Closed) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooMany(TooMany::Site(_)) | Self::Busy | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns the kind of a failure that comes from axum or from a layer, which has a status only.
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            status if status.is_client_error() => Self::BadRequest,
            // tower-sessions could not read or write a visit, because the database is out of reach.
            _ => Self::Unavailable,
        }
    }

    /// Returns in how many seconds the client may try again.
    pub fn retry_after(self) -> Option<i64> {
        match self {
            Self::TooMany(too_many) => Some(too_many.wait().whole_seconds()),
            Self::Busy | Self::Unavailable => Some(5),
            _ => None,
        }
    }
}

/// A failure. Handlers return it with `?`; the door gives it its words.
#[derive(Clone, Debug)]
pub struct Error {
    /// The kind of the failure.
    pub kind: ErrorKind,
    /// The cause, for the log only: no part of it is shown.
    cause: Option<String>,
}

impl Error {
    /// Returns the failure of a request for a path at which there is nothing.
    pub fn not_found() -> Self {
        ErrorKind::NotFound.into()
    }

    /// Returns the failure of a request that did not come from one of our own pages.
    pub fn cross_site(cause: String) -> Self {
        Self { kind: ErrorKind::CrossSite, cause: Some(cause) }
    }

    /// Returns the failure of a request for another host than the site's.
    pub fn misdirected(host: &str) -> Self {
        Self { kind: ErrorKind::Misdirected, cause: Some(format!("Host: {host}")) }
    }

    /// Returns the failure for something that should not happen.
    pub fn internal(cause: impl ToString) -> Self {
        Self { kind: ErrorKind::Internal, cause: Some(cause.to_string()) }
    }

    /// Returns the failure for something that is out of reach at the moment.
    pub fn unavailable(cause: impl ToString) -> Self {
        Self { kind: ErrorKind::Unavailable, cause: Some(cause.to_string()) }
    }

    /// Returns the failure that an answer stands for, or `None` if the answer has its words already.
    ///
    /// Every answer with a failure's status that is not [`Explained`] is a failure: the ones that handlers return, and the
    /// ones of axum and of layers, of which only the status is known.
    pub fn of(response: &mut Response) -> Option<Self> {
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            return None;
        }
        let extensions = response.extensions_mut();
        match (extensions.remove::<Self>(), extensions.get::<Explained>()) {
            (None, Some(Explained)) => None,
            (error, _) => Some(error.unwrap_or_else(|| ErrorKind::of_status(status).into())),
        }
    }

    /// Writes the failure's line into the log.
    pub fn log(&self) {
        let (status, cause) = (self.kind.status().as_u16(), self.cause.as_deref());
        match self.kind {
            ErrorKind::Busy => turned_away(cause.unwrap_or("unknown")),
            // Metrics count these, and the first one of a client is an event. One line for each would let a client fill
            // the disk.
            ErrorKind::TooMany(_) => debug!(status, cause, "refused"),
            ErrorKind::Unavailable | ErrorKind::Internal => {
                error!(status, cause = cause.unwrap_or("unknown"), "failed")
            }
            ErrorKind::BadRequest
            | ErrorKind::CrossSite
            | ErrorKind::NotFound
            | ErrorKind::MethodNotAllowed
            | ErrorKind::BodyTimeout
            | ErrorKind::TooLarge
            | ErrorKind::MediaType
            | ErrorKind::Misdirected => {
                if let Some(cause) = cause {
                    refused(status, super::cut(cause));
                }
            }
        }
    }
}

/// Marks an answer that has its words already, such as a form with a problem (422) or the page of a used link (410). An
/// answer with a failure's status and without this mark gets the words of its [`ErrorKind`].
#[derive(Clone, Copy, Debug)]
pub struct Explained;

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, cause: None }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let kind = match fault {
            Fault::TooMany(too_many) => ErrorKind::TooMany(too_many),
            Fault::Busy => ErrorKind::Busy,
            // A database out of reach is never “you are logged out” or “wrong password”.
            Fault::Database(_) => ErrorKind::Unavailable,
            Fault::Internal(_) => ErrorKind::Internal,
        };
        Self { kind, cause: Some(fault.to_string()) }
    }
}

impl From<BytesRejection> for Error {
    fn from(rejection: BytesRejection) -> Self {
        ErrorKind::of_status(rejection.status()).into()
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Logs a request that was refused. Any client can cause one, so each has a line at debug, where an operator finds it by
/// its request ID, and otherwise there is one line per minute. `http_requests_total` counts them all by their status.
fn refused(status: u16, cause: &str) {
    static REFUSED: Notice = Notice::new();
    debug!(status, cause, "refused");
    if let Some(count) = REFUSED.count(Instant::now()) {
        warn!(count, status, cause, "requests were refused; this is the last of them");
    }
}

/// Logs a request that found the queue for the hash full. Any client can fill it; `hash_busy_total` counts them all.
fn turned_away(cause: &str) {
    static BUSY: Notice = Notice::new();
    if let Some(turned_away) = BUSY.count(Instant::now()) {
        warn!(turned_away, "{cause}");
    }
}

#[cfg(test)]
mod tests {
    use axum::Extension;

    use super::*;

    #[test]
    fn an_answer_that_does_not_say_that_it_has_words_gets_those_of_its_kind() {
        let kind = |answer: Response| Error::of(&mut { answer }).map(|error| error.kind);
        let form = "<p>a form with a problem</p>";
        assert_eq!(kind((StatusCode::UNPROCESSABLE_ENTITY, Extension(Explained), form).into_response()), None);
        assert_eq!(kind((StatusCode::UNPROCESSABLE_ENTITY, form).into_response()), Some(ErrorKind::BadRequest));
        assert_eq!(kind(StatusCode::NOT_FOUND.into_response()), Some(ErrorKind::NotFound));
        // tower-sessions answers so when the database is out of reach.
        assert_eq!(kind(StatusCode::INTERNAL_SERVER_ERROR.into_response()), Some(ErrorKind::Unavailable));
        assert_eq!(kind(Error::internal("x").into_response()), Some(ErrorKind::Internal));
        assert_eq!(kind(StatusCode::SEE_OTHER.into_response()), None);
    }
}
