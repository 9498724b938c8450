//! What every page shows around its own content.

use std::sync::Arc;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::identity::SignedIn;
use super::language;
use super::visit::{Flash, Visit};
use crate::accounts::user::User;
use crate::app::App;
use crate::config::Signup;
use crate::gate::client::Language;
use crate::gate::error::Error;
use crate::locale::{Locale, Translation};
use crate::look::Look;

/// The frame of a page. Named by a handler that answers GET, it takes the flash out of the visit: shown
/// once, gone after. Name it after [`CurrentUser`](super::identity::CurrentUser), whose language it then has.
pub struct Page {
    /// The site's name.
    pub site: String,
    /// The language.
    pub locale: Locale,
    /// What the page says, in that language.
    pub t: &'static Translation,
    /// The username of the user who is logged in, for the header.
    pub user: Option<String>,
    /// Where the links to other languages lead: this page.
    pub in_other_languages: String,
    /// Its style sheet, script, icon and logo.
    pub look: Arc<Look>,
    /// What just happened.
    pub flash: Option<Flash>,
    /// Whether letters are kept in the development mailbox.
    pub dev_mailbox: bool,
    /// Whether the site does without TLS on a private network, which every page then says.
    pub insecure_lan: bool,
    /// Whether anybody may create an account.
    pub signup: bool,
    password_min_length: u32,
}

impl Page {
    /// A page without a flash.
    pub fn plain(app: &App, locale: Locale) -> Self {
        Self {
            site: app.config.site_name.clone(),
            locale,
            t: locale.t(),
            user: None,
            in_other_languages: "?lang=".to_owned(),
            look: app.look.clone(),
            flash: None,
            dev_mailbox: app.config.keeps_letters(),
            insecure_lan: app.config.is_insecure_lan(),
            signup: app.config.signup != Signup::Closed,
            password_min_length: app.config.password_min_length,
        }
    }

    /// The same page for a user who is logged in.
    pub fn signed_in(self, user: &User) -> Self {
        Self { user: Some(user.username.clone()), ..self }
    }

    /// What a password must be, for its hint.
    pub fn password_hint(&self) -> String {
        self.t.password_hint(self.password_min_length)
    }

    /// A time as `<time datetime>` has it.
    pub fn machine(&self, at: &OffsetDateTime) -> String {
        at.format(&Rfc3339).unwrap_or_default()
    }

    /// A fresh id for a form, so that its double click can be told from a second wish.
    pub fn form_id(&self) -> String {
        super::replay::form_id()
    }
}

impl FromRequestParts<Arc<App>> for Page {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        language::switch(parts, app).await?;
        let mut page = Self::plain(app, Language::of(parts).locale);
        page.user = parts.extensions.get::<SignedIn>().map(|user| user.0.clone());
        if parts.method == Method::GET {
            if let Some(query) = parts.uri.query().filter(|query| query.len() <= language::QUERY_MAX) {
                page.in_other_languages = format!("?{query}&lang=");
            }
            let visit = Visit::from_request_parts(parts, app).await.map_err(IntoResponse::into_response)?;
            page.flash = visit.take_flash().await.map_err(IntoResponse::into_response)?;
        }
        Ok(page)
    }
}

/// Renders a page.
///
/// # Errors
/// None that our templates can meet; askama's signature has them.
pub fn html(status: StatusCode, locale: Locale, page: &impl Template) -> Result<Response, Error> {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_LANGUAGE, locale.tag()),
        (header::VARY, "Accept-Language, Cookie"),
    ];
    Ok((status, headers, page.render()?).into_response())
}
