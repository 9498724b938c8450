//! What every page shows around its own content.

use std::sync::Arc;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::error::Error;
use super::visit::{Flash, Visit};
use crate::app::App;
use crate::config::Signup;
use crate::look::Look;

/// The frame of a page. Named by a handler that answers GET, it takes the flash out of the visit: shown
/// once, gone after.
pub struct Page {
    /// The site's name.
    pub site: String,
    /// Its style sheet, script, icon and logo.
    pub look: Arc<Look>,
    /// What just happened.
    pub flash: Option<Flash>,
    /// Whether letters are kept in the development mailbox.
    pub dev_mailbox: bool,
    /// Whether anybody may create an account.
    pub signup: bool,
    /// The least characters of a password, for the hint.
    pub password_min_length: u32,
}

impl Page {
    /// A page without a flash.
    pub fn plain(app: &App) -> Self {
        Self {
            site: app.config.site_name.clone(),
            look: app.look.clone(),
            flash: None,
            dev_mailbox: app.config.keeps_letters(),
            signup: app.config.signup != Signup::Closed,
            password_min_length: app.config.password_min_length,
        }
    }

    /// What a password must be, for its hint.
    pub fn password_hint(&self) -> String {
        format!("{} characters or more. Three random words work well.", self.password_min_length)
    }

    /// A fresh id for a form, so that its double click can be told from a second wish.
    pub fn form_id(&self) -> String {
        super::replay::form_id()
    }
}

impl FromRequestParts<Arc<App>> for Page {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Error> {
        let mut page = Self::plain(app);
        if parts.method == Method::GET {
            let visit = Visit::from_request_parts(parts, app).await?;
            page.flash = visit.take_flash().await?;
        }
        Ok(page)
    }
}

/// Renders a page.
///
/// # Errors
/// None that our templates can meet; askama's signature has them.
pub fn html(status: StatusCode, page: &impl Template) -> Result<Response, Error> {
    let body = page.render()?;
    Ok((status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], body).into_response())
}
