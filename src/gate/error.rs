//! Failures that end a request: an answer in the door's own form, one line in the log, the same request id on both.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::accounts::Fault;
use crate::accounts::limit::TooMany;

/// A failure. Handlers return it with `?`; the door gives it its words.
#[derive(Clone, Debug)]
pub struct Error {
    /// The status of the answer.
    pub status: StatusCode,
    /// What there was too much of.
    pub too_many: Option<TooMany>,
    /// For the log only: nothing of it is shown.
    pub(super) cause: Option<String>,
    /// Whether it is one of many of its kind, which the log counts and does not list.
    pub(super) is_busy: bool,
}

impl Error {
    /// There is nothing at this path.
    pub fn not_found() -> Self {
        StatusCode::NOT_FOUND.into()
    }

    /// The request did not come from one of our own pages.
    pub fn cross_site(cause: String) -> Self {
        Self { cause: Some(cause), ..StatusCode::FORBIDDEN.into() }
    }

    /// The request is for another host than the site's.
    pub fn misdirected(host: &str) -> Self {
        Self { cause: Some(format!("Host: {host}")), ..StatusCode::MISDIRECTED_REQUEST.into() }
    }

    /// Something that should not happen.
    pub fn internal(cause: impl ToString) -> Self {
        Self { cause: Some(cause.to_string()), ..StatusCode::INTERNAL_SERVER_ERROR.into() }
    }

    /// Something that will be over soon.
    pub fn unavailable(cause: impl ToString) -> Self {
        Self { cause: Some(cause.to_string()), ..StatusCode::SERVICE_UNAVAILABLE.into() }
    }
}

impl From<StatusCode> for Error {
    fn from(status: StatusCode) -> Self {
        Self { status, too_many: None, cause: None, is_busy: false }
    }
}

impl From<TooMany> for Error {
    fn from(too_many: TooMany) -> Self {
        let cause = Some(format!("too many tries: {too_many:?}"));
        let status = match too_many {
            // 429 is about the one client (RFC 6585, 4).
            TooMany::Site(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::TOO_MANY_REQUESTS,
        };
        Self { too_many: Some(too_many), cause, ..status.into() }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            // A database out of reach is never “you are logged out” or “wrong password”.
            Fault::Busy => Self { is_busy: true, ..Self::unavailable(fault) },
            Fault::Database(_) => Self::unavailable(fault),
            Fault::Internal(_) => Self::internal(fault),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
