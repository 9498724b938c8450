//! Failures that end a request: one page in the site's frame, one line in the log, the same request id on
//! both.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::{error, warn};

use super::page::{Page, html};
use crate::accounts::Fault;
use crate::app::App;
use crate::locale::{Locale, Translation};
use crate::urls;

/// A failure. Handlers return it with `?`; [`with_page`] gives it its page.
#[derive(Clone, Debug)]
pub struct Error {
    status: StatusCode,
    /// For the log only: nothing of it is shown.
    cause: Option<String>,
}

impl Error {
    /// There is nothing at this path.
    pub fn not_found() -> Self {
        StatusCode::NOT_FOUND.into()
    }

    /// The request did not come from one of our own pages.
    pub fn cross_site(cause: String) -> Self {
        Self { status: StatusCode::FORBIDDEN, cause: Some(cause) }
    }

    /// Something that should not happen.
    pub fn internal(cause: impl ToString) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, cause: Some(cause.to_string()) }
    }

    /// Something that will be over soon.
    pub fn unavailable(cause: impl ToString) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, cause: Some(cause.to_string()) }
    }
}

impl From<StatusCode> for Error {
    fn from(status: StatusCode) -> Self {
        Self { status, cause: None }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            // A database out of reach is never “you are logged out” or “wrong password”.
            Fault::Busy | Fault::Database(_) => Self::unavailable(fault),
            Fault::Internal(_) => Self::internal(fault),
        }
    }
}

impl From<askama::Error> for Error {
    fn from(error: askama::Error) -> Self {
        Self::internal(error)
    }
}

impl From<tower_sessions::session::Error> for Error {
    fn from(error: tower_sessions::session::Error) -> Self {
        Self::unavailable(error)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Nothing at this path.
pub async fn not_found() -> Error {
    Error::not_found()
}

/// Something at this path, for another method; axum adds `Allow`.
pub async fn method_not_allowed() -> Error {
    StatusCode::METHOD_NOT_ALLOWED.into()
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    page: Page,
    heading: String,
    advice: String,
    request_id: String,
}

/// What a person reads: what happened, and what to do.
fn words(status: StatusCode, t: &Translation) -> (String, String) {
    match status {
        StatusCode::FORBIDDEN => (t.failure_cross_site(), t.failure_cross_site_advice()),
        StatusCode::NOT_FOUND => (t.failure_not_found(), t.failure_not_found_advice()),
        StatusCode::METHOD_NOT_ALLOWED => (t.failure_method(), t.failure_method_advice()),
        StatusCode::REQUEST_TIMEOUT => (t.failure_timeout(), t.failure_timeout_advice()),
        StatusCode::PAYLOAD_TOO_LARGE => (t.failure_too_large(), t.failure_too_large_advice()),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (t.failure_media_type(), t.failure_media_type_advice()),
        StatusCode::SERVICE_UNAVAILABLE => (t.failure_busy(), t.failure_busy_advice()),
        _ if status.is_client_error() => (t.failure_client(), t.failure_client_advice()),
        _ => (t.failure_server(), t.failure_server_advice()),
    }
}

/// Gives a failure its page, whoever it comes from: a handler, a layer, or axum itself.
pub fn with_page(app: &App, locale: Locale, request_id: &str, mut response: Response) -> Response {
    let mut status = response.status();
    let known = response.extensions_mut().remove::<Error>();
    // A form that needs another try (422) or a spent link (410) is a page already.
    if known.is_none()
        && response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind != "text/plain; charset=utf-8")
    {
        return response;
    }
    if known.is_none() && status == StatusCode::INTERNAL_SERVER_ERROR {
        // tower-sessions' own: a visit that could not be written.
        status = StatusCode::SERVICE_UNAVAILABLE;
    }
    let cause = known.and_then(|error| error.cause);
    match (&cause, status.is_server_error()) {
        (cause, true) => error!(status = status.as_u16(), cause = cause.as_deref().unwrap_or("unknown"), "failed"),
        (Some(cause), false) => warn!(status = status.as_u16(), cause, "refused"),
        (None, false) => {}
    }

    let (heading, advice) = words(status, locale.t());
    let mut page = Page::plain(app, locale);
    // There may be nothing to read at this address, in any language.
    page.in_other_languages = format!("{}?lang=", urls::HOME);
    let page = ErrorPage { page, heading, advice, request_id: request_id.to_owned() };
    let mut framed = match html(status, locale, &page) {
        Ok(framed) => framed,
        Err(_) => return response,
    };
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            framed.headers_mut().append(name, value.clone());
        }
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        framed.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    framed
}
