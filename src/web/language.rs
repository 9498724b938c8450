//! The language of a page: what the person has chosen, or else what their browser asks for.

use std::sync::Arc;

use axum::RequestPartsExt;
use axum::extract::{Extension, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Redirect, Response};
use time::Duration;
use tower_cookies::Cookies;

use super::cookie::{self, Name};
use super::identity::CurrentUser;
use crate::accounts::profile;
use crate::app::App;
use crate::gate::client::Language;
use crate::gate::error::Error;
use crate::locale::Locale;

/// How long a browser remembers its choice.
const KEPT: Duration = Duration::days(365);

/// The longest query that is carried along when the language changes, in bytes. No page of ours has a longer one; it
/// stands in every link to another language, and as `Location` up to three times as long, before anything is limited.
pub const QUERY_MAX: usize = 1024;

/// The language for a browser of which nothing else is known: its cookie, what it asks for, the site's own.
pub fn of_browser(app: &App, headers: &HeaderMap) -> Language {
    let chosen = cookie::value(headers, Name::Language.on(app)).and_then(|tag| tag.parse().ok());
    Language { locale: chosen.unwrap_or_else(|| Language::accepted(app, headers).locale), chosen }
}

/// Lets the browser remember a language, or forget it.
pub fn remember(cookies: &Cookies, app: &App, locale: Option<Locale>) {
    match locale {
        Some(locale) => cookie::set(cookies, app, Name::Language, locale.tag().to_owned(), Some(KEPT)),
        None => cookie::remove(cookies, app, Name::Language),
    }
}

/// Makes the choice in `?lang=` and goes on to the same page without it.
///
/// # Errors
/// The redirect, when there was a choice.
pub async fn switch(parts: &mut Parts, app: &Arc<App>) -> Result<(), Response> {
    let query = parts.uri.query().filter(|query| parts.method == Method::GET && query.contains("lang="));
    let Some(query) = query else { return Ok(()) };
    let (chosen, rest): (Vec<_>, Vec<_>) =
        form_urlencoded::parse(query.as_bytes()).into_owned().partition(|(name, _)| name == "lang");
    let Some(locale) = chosen.last().and_then(|(_, tag)| tag.parse::<Locale>().ok()) else { return Ok(()) };

    let cookies: Extension<Cookies> = parts.extract().await.map_err(|why| Error::internal(why).into_response())?;
    remember(&cookies, app, Some(locale));
    // A link on another site, or in a mail, changes this browser at most, and not what the account keeps.
    let site = parts.headers.get("sec-fetch-site").map(|site| site.as_bytes());
    if matches!(site, None | Some(b"same-origin")) {
        let user = <CurrentUser as OptionalFromRequestParts<Arc<App>>>::from_request_parts(parts, app).await;
        if let Some(CurrentUser { user, .. }) = user.map_err(IntoResponse::into_response)? {
            let saved = profile::choose_language(&app.db, user.id, Some(locale), app.now()).await;
            saved.map_err(|fault| Error::from(fault).into_response())?;
        }
    }
    let path = parts.uri.path();
    let rest = form_urlencoded::Serializer::new(String::new()).extend_pairs(rest).finish();
    let to = if rest.is_empty() || rest.len() > QUERY_MAX { path.to_owned() } else { format!("{path}?{rest}") };
    Err(Redirect::to(&to).into_response())
}
