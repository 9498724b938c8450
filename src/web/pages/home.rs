//! The first page.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use crate::gate::error::Error;
use crate::web::browser::identity::Guest;
use crate::web::frame::page::{Page, html};

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    page: Page,
}

/// GET /
pub async fn show(_: Guest, page: Page) -> Result<Response, Error> {
    html(StatusCode::OK, page.locale, &HomePage { page })
}
