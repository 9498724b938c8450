//! The first page.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::error::Error;
use super::identity::CurrentUser;
use super::page::{Page, html};
use crate::urls;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    page: Page,
}

/// GET /
pub async fn show(user: Option<CurrentUser>, page: Page) -> Result<Response, Error> {
    if user.is_some() {
        return Ok(Redirect::to(urls::PROFILE).into_response());
    }
    html(StatusCode::OK, &HomePage { page })
}
