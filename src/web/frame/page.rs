//! What every page shows around its own content.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use askama::filters::HtmlSafe;
use askama::{FastWritable, Template, Values};
use axum::body::Body;
use axum::extract::{Extension, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::accounts::user::User;
use crate::app::App;
use crate::config::Signup;
use crate::gate::client::Language;
use crate::gate::error::{Error, Explained};
use crate::gate::form::FieldName;
use crate::gate::headers::ADDED;
use crate::locale::{Locale, Translation};
use crate::look::Look;
use crate::urls::Next;
use crate::web::browser::identity::{self, Resolved};
use crate::web::browser::language;
use crate::web::browser::replay;
use crate::web::browser::visit::Flash;

/// The frame of a page, in the language of the request, with its user and its flash.
pub struct Page {
    /// The site's name.
    pub site: String,
    /// The language.
    pub locale: Locale,
    /// The words of that language.
    pub t: &'static Translation,
    /// The username of the user who is logged in, for the header.
    pub user: Option<String>,
    /// The beginning of the links to other languages, which lead to this page.
    pub in_other_languages: String,
    /// The style sheet, the script, the icon and the logo.
    pub look: Arc<Look>,
    /// What just happened.
    pub flash: Option<Flash>,
    /// Whether emails are kept in the development mailbox.
    pub dev_mailbox: bool,
    /// Whether the site runs without TLS on a private network, which every page then says.
    pub insecure_lan: bool,
    /// Whether visitors may create an account.
    pub signup: bool,
    password_min_length: u32,
}

impl Page {
    /// Returns the frame of a page without a user and without a flash.
    pub fn plain(app: &App, locale: Locale) -> Self {
        Self {
            site: app.settings.site_name.clone(),
            locale,
            t: locale.t(),
            user: None,
            in_other_languages: "?lang=".to_owned(),
            look: app.look.clone(),
            flash: None,
            dev_mailbox: app.settings.dev_mailbox().is_some(),
            insecure_lan: app.settings.insecure_lan,
            signup: app.settings.signup != Signup::Closed,
            password_min_length: app.settings.password_min_length,
        }
    }

    /// Returns the same frame for a user who is logged in.
    pub fn signed_in(self, user: &User) -> Self {
        Self { user: Some(user.username.clone()), ..self }
    }

    /// Returns the same frame for a page that remembers where to go on to. It does so in other languages too.
    pub fn remembering(self, next: Option<&Next>) -> Self {
        let Some(next) = next else { return self };
        Self { in_other_languages: format!("?{}&lang=", identity::with_next(next)), ..self }
    }

    /// Returns what the site is, in a few words, for search engines.
    pub fn about(&self) -> &str {
        self.look.about(self.locale)
    }

    /// Returns the hint that says what a password must be.
    pub fn password_hint(&self) -> String {
        self.t.password_hint(self.password_min_length)
    }

    /// Returns a time as `<time datetime>` has it.
    pub fn machine(&self, at: &OffsetDateTime) -> String {
        at.format(&Rfc3339).unwrap_or_default()
    }

    /// Returns a new ID for a form, which tells a double click from a form that is sent a second time.
    pub fn form_id(&self) -> String {
        replay::form_id()
    }
}

impl FromRequestParts<Arc<App>> for Page {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Error> {
        let Resolved { user, flash } = Resolved::of(parts)?;
        let mut page = Self { flash: *flash, ..Self::plain(app, Language::of(parts).locale) };
        page.user = user.as_ref().map(|current| current.user.username.clone());
        let query = parts.uri.query().filter(|query| parts.method == Method::GET && query.len() <= language::QUERY_MAX);
        if let Some(query) = query {
            page.in_other_languages = format!("?{query}&lang=");
        }
        Ok(page)
    }
}

/// Makes a browser load the page again after this many seconds, without script. A page that does so must say so, and have a
/// link to itself that does not (WCAG 2.2.1 and 2.2.4).
pub fn reloading(mut page: Response, after: Duration) -> Response {
    page.headers_mut().insert(header::REFRESH, HeaderValue::from(after.as_secs()));
    page
}

/// What templates write often. By way of `Display` it costs several times as much. None of it has a character that HTML would
/// read otherwise: a field of Rust, and the tag of a language.
macro_rules! written_at_once {
    ($($of:ty => $text:path,)*) => {$(
        impl HtmlSafe for $of {}

        impl FastWritable for $of {
            fn write_into(&self, to: &mut dyn fmt::Write, _: &dyn Values) -> askama::Result<()> {
                Ok(to.write_str($text(*self))?)
            }
        }
    )*};
}

written_at_once! {
    FieldName => FieldName::text,
    Locale => Locale::tag,
}

/// How long most pages are at most, in bytes.
const PAGE: usize = 8 << 10;

/// Renders a page.
///
/// # Errors
/// None that our templates can cause. Askama's signature has them.
pub fn html(status: StatusCode, locale: Locale, page: &impl Template) -> Result<Response, Error> {
    let mut text = String::with_capacity(PAGE);
    page.render_into(&mut text)?;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_LANGUAGE, locale.tag()),
        (header::VARY, "Accept-Language, Cookie"),
    ];
    let mut response = (status, Extension(Explained), Body::from(text)).into_response();
    response.headers_mut().reserve(headers.len() + ADDED);
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
