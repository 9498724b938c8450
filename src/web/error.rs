//! The page of a failure, in the site's frame.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::page::{Page, html};
use crate::accounts::limit::TooMany;
use crate::app::App;
use crate::gate::error::Error;
use crate::gate::words::Words;
use crate::locale::{Locale, Translation};
use crate::urls;

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
    /// Whether the way out is a new password.
    new_password: bool,
    request_id: String,
}

/// What a person reads: what happened, and what to do.
fn words(error: &Error, t: &Translation) -> (String, String) {
    match error.status {
        StatusCode::FORBIDDEN => (t.failure_cross_site(), t.failure_cross_site_advice()),
        StatusCode::NOT_FOUND => (t.failure_not_found(), t.failure_not_found_advice()),
        StatusCode::METHOD_NOT_ALLOWED => (t.failure_method(), t.failure_method_advice()),
        StatusCode::REQUEST_TIMEOUT => (t.failure_timeout(), t.failure_timeout_advice()),
        StatusCode::PAYLOAD_TOO_LARGE => (t.failure_too_large(), t.failure_too_large_advice()),
        StatusCode::MISDIRECTED_REQUEST => (t.failure_misdirected(), t.failure_misdirected_advice()),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (t.failure_media_type(), t.failure_media_type_advice()),
        StatusCode::TOO_MANY_REQUESTS => {
            (t.failure_too_many(), error.too_many.map_or_else(|| t.failure_busy_advice(), |many| many.words(t)))
        }
        StatusCode::SERVICE_UNAVAILABLE => (t.failure_busy(), t.failure_busy_advice()),
        status if status.is_client_error() => (t.failure_client(), t.failure_client_advice()),
        _ => (t.failure_server(), t.failure_server_advice()),
    }
}

/// The page of a failure.
pub fn page(app: &App, locale: Locale, request_id: &str, error: &Error) -> Response {
    let (status, (heading, advice)) = (error.status, words(error, locale.t()));
    let new_password = matches!(error.too_many, Some(TooMany::Account(_) | TooMany::Closed));
    let mut page = Page::plain(app, locale);
    // There may be nothing to read at this address, in any language.
    page.in_other_languages = format!("{}?lang=", urls::HOME);
    let page = ErrorPage { page, heading, advice, new_password, request_id: request_id.to_owned() };
    html(status, locale, &page).unwrap_or_else(|_| status.into_response())
}
