//! The first page.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::identity::Guest;
use super::page::{Page, html};
use crate::gate::error::Error;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    page: Page,
}

/// GET /
pub async fn show(_: Guest, page: Page) -> Result<Response, Error> {
    html(StatusCode::OK, page.locale, &HomePage { page })
}
