//! The language of a page. A choice in this browser comes first, then what the account has saved, then what the app asks for to
//! which the page leads, then what the browser asks for, then the site's own.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Redirect, Response};
use time::Duration;
use tower_cookies::Cookies;

use super::cookie::{self, Name};
use crate::accounts::Client;
use crate::accounts::authorize::request::Params;
use crate::accounts::user::User;
use crate::app::App;
use crate::gate::client::Language;
use crate::gate::cookies;
use crate::locale::Locale;
use crate::urls::{self, Next};

/// How long a browser remembers its choice.
const KEPT: Duration = Duration::days(365);

/// The longest query that is carried along when the language changes, in bytes: the log-in's has the whole request of an app in it
/// ([`Next`]). It stands in every link to another language, and in `Location`, before anything is limited.
pub const QUERY_MAX: usize = 4096;

/// Returns the language for a browser in which no user is known yet.
pub fn of_browser(app: &App, headers: &HeaderMap) -> Language {
    let chosen = cookies::value(headers, Name::Language.on(app)).and_then(|tag| tag.parse().ok());
    Language { locale: chosen.unwrap_or_else(|| Language::accepted(app, headers).locale), chosen }
}

/// Returns the language for this user in a browser. What the user chose here comes before what the account has saved, so
/// that the links in the footer work for a user who is logged in.
pub fn of_user(browser: Language, user: &User) -> Language {
    match (browser.chosen, user.locale()) {
        (None, Some(saved)) => Language { locale: saved, chosen: None },
        _ => browser,
    }
}

/// Returns the language for a page that leads to an app: the request says which languages its user reads (`ui_locales`; OpenID
/// Connect Core, 3.1.2.1). Nothing is kept of it, because another app may say something else.
pub fn of_app(browser: Language, to: &str) -> Language {
    let query = to.strip_prefix(urls::AUTHORIZE).and_then(|rest| rest.strip_prefix('?'));
    let asked = query.filter(|_| browser.chosen.is_none()).and_then(|query| Params::parse(query).ui_locale());
    Language { locale: asked.unwrap_or(browser.locale), ..browser }
}

/// Returns the client of a form that leads to an app, in the language of the page that had it ([`of_app`]). The letter is in that
/// language too.
pub fn of_form(client: Client, next: Option<&Next>) -> Client {
    let Some(next) = next else { return client };
    let language = Language { locale: client.locale, chosen: client.chosen };
    Client { locale: of_app(language, next.as_str()).locale, ..client }
}

/// Deletes the choice of this browser, so that it does not win over what an account has saved: at a log-in, the user who
/// made the choice need not be the one who logs in.
pub fn forget(cookies: &Cookies, app: &App) {
    cookie::remove(cookies, app, Name::Language);
}

/// Makes the choice in `?lang=`, and returns the redirect to the same page without it. Returns `None` if there is no choice.
///
/// A link on another site, or in an email, can change the language of this browser, and never what an account has saved.
pub fn switch(parts: &Parts, cookies: &Cookies, app: &App) -> Option<Response> {
    let query = parts.uri.query().filter(|query| parts.method == Method::GET && query.contains("lang="))?;
    let (chosen, rest): (Vec<_>, Vec<_>) =
        form_urlencoded::parse(query.as_bytes()).into_owned().partition(|(name, _)| name == "lang");
    let locale = chosen.last().and_then(|(_, tag)| tag.parse::<Locale>().ok())?;

    cookie::set(cookies, app, Name::Language, locale.tag().to_owned(), Some(KEPT));
    let path = parts.uri.path();
    let rest = form_urlencoded::Serializer::new(String::new()).extend_pairs(rest).finish();
    let to = if rest.is_empty() || rest.len() > QUERY_MAX { path.to_owned() } else { format!("{path}?{rest}") };
    Some(Redirect::to(&to).into_response())
}
