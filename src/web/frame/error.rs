//! The page of a failure, in the site's frame.

use std::borrow::Cow;

use askama::Template;
use axum::response::{IntoResponse, Response};

use super::page::{Page, html};
use crate::accounts::limit::TooMany;
use crate::app::App;
use crate::gate::client::RequestId;
use crate::gate::error::{Error, ErrorKind};
use crate::locale::{Locale, Translation};
use crate::urls;
use crate::words::Words;

impl From<askama::Error> for Error {
    fn from(error: askama::Error) -> Self {
        Self::internal(error)
    }
}

/// Answers a path at which there is nothing.
pub async fn not_found() -> Error {
    Error::not_found()
}

/// Answers a path at which there is something for another method; axum adds `Allow`.
pub async fn method_not_allowed() -> Error {
    ErrorKind::MethodNotAllowed.into()
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    page: Page,
    heading: &'static str,
    advice: Cow<'static, str>,
    /// Whether the page offers a new password.
    new_password: bool,
    request_id: RequestId,
}

/// Returns the words of a kind of failure: what happened, and what to do.
fn words(kind: ErrorKind, t: &Translation) -> (&'static str, Cow<'static, str>) {
    let (heading, advice) = match kind {
        ErrorKind::BadRequest => (t.failure_client(), t.failure_client_advice()),
        ErrorKind::CrossSite => (t.failure_cross_site(), t.failure_cross_site_advice()),
        ErrorKind::NotFound => (t.failure_not_found(), t.failure_not_found_advice()),
        ErrorKind::MethodNotAllowed => (t.failure_method(), t.failure_method_advice()),
        ErrorKind::BodyTimeout => (t.failure_timeout(), t.failure_timeout_advice()),
        ErrorKind::TooLarge => (t.failure_too_large(), t.failure_too_large_advice()),
        ErrorKind::MediaType => (t.failure_media_type(), t.failure_media_type_advice()),
        ErrorKind::Misdirected => (t.failure_misdirected(), t.failure_misdirected_advice()),
        ErrorKind::TooMany(TooMany::Site(_)) | ErrorKind::Busy | ErrorKind::Unavailable => {
            (t.failure_busy(), t.failure_busy_advice())
        }
        ErrorKind::TooMany(too_many) => return (t.failure_too_many(), too_many.words(t).into()),
        ErrorKind::Internal => (t.failure_server(), t.failure_server_advice()),
    };
    (heading, advice.into())
}

/// Returns the page of a failure.
pub fn page(app: &App, locale: Locale, request_id: RequestId, error: &Error) -> Response {
    let (status, (heading, advice)) = (error.kind.status(), words(error.kind, locale.t()));
    let new_password = matches!(error.kind, ErrorKind::TooMany(TooMany::Account(_) | TooMany::Closed));
    let mut page = Page::plain(app, locale);
    // There may be nothing to read at this path, in any language.
    page.in_other_languages = format!("{}?lang=", urls::HOME);
    let page = ErrorPage { page, heading, advice, new_password, request_id };
    html(status, locale, &page).unwrap_or_else(|_| status.into_response())
}
