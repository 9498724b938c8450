//! Our cookies: their names, their attributes, and which of them are read.

use axum::http::{HeaderMap, HeaderValue, header};
use time::Duration;
use tower_cookies::{Cookie, Cookies};
use tower_sessions::cookie::SameSite;

use crate::app::App;

/// A cookie of ours.
///
/// On https the names begin with `__Host-`: browsers take such a cookie only over TLS, only for `/` and only
/// from this very host, so that a sister host cannot plant one (RFC 6265bis, 4.1.3.2). On http (loopback)
/// they are plain, and a plain name is never read on https.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// The JWT that points at the session.
    Session,
    /// The id of the visit.
    Visit,
    /// A reset link's token, on its way from the link to the form.
    ResetLink,
    /// A sign-up link's token, likewise.
    SignupLink,
    /// The language that was chosen in this browser.
    Language,
    /// The name of the browser, once somebody has logged in. It opens nothing.
    Device,
    /// The token of a link that says “this was not me”, for its pages.
    NotMeLink,
    /// The address that was typed last, so that nobody types it twice.
    Typed,
}

impl Name {
    const ALL: [Self; 8] = [
        Self::Session,
        Self::Visit,
        Self::ResetLink,
        Self::SignupLink,
        Self::Language,
        Self::Device,
        Self::NotMeLink,
        Self::Typed,
    ];

    /// The name on this site.
    pub fn on(self, app: &App) -> &'static str {
        match (self, app.public_url.is_https()) {
            (Self::Session, true) => "__Host-latchkey_session",
            (Self::Session, false) => "latchkey_session",
            (Self::Visit, true) => "__Host-latchkey_visit",
            (Self::Visit, false) => "latchkey_visit",
            (Self::ResetLink, true) => "__Host-latchkey_reset",
            (Self::ResetLink, false) => "latchkey_reset",
            (Self::SignupLink, true) => "__Host-latchkey_signup",
            (Self::SignupLink, false) => "latchkey_signup",
            (Self::Language, true) => "__Host-latchkey_lang",
            (Self::Language, false) => "latchkey_lang",
            (Self::Device, true) => "__Host-latchkey_device",
            (Self::Device, false) => "latchkey_device",
            (Self::NotMeLink, true) => "__Host-latchkey_not_me",
            (Self::NotMeLink, false) => "latchkey_not_me",
            (Self::Typed, true) => "__Host-latchkey_typed",
            (Self::Typed, false) => "latchkey_typed",
        }
    }
}

/// Sets a cookie. Without `max_age` it goes when the browser is closed.
pub fn set(cookies: &Cookies, app: &App, name: Name, value: String, max_age: Option<Duration>) {
    let mut cookie = Cookie::build((name.on(app), value))
        .http_only(true)
        .secure(app.public_url.is_https())
        // Lax, not Strict: Strict is not sent after a click in a webmail, where every link of ours is.
        .same_site(SameSite::Lax)
        .path("/")
        .build();
    cookie.set_max_age(max_age);
    cookies.add(cookie);
}

/// The cookie's value.
pub fn get(cookies: &Cookies, app: &App, name: Name) -> Option<String> {
    cookies.get(name.on(app)).map(|cookie| cookie.value().to_owned())
}

/// Takes a cookie away.
pub fn remove(cookies: &Cookies, app: &App, name: Name) {
    if cookies.get(name.on(app)).is_some() {
        let gone = Cookie::build((name.on(app), "")).secure(app.public_url.is_https()).path("/").build();
        cookies.remove(gone);
    }
}

/// The value under this very name, if it came once.
pub fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = pairs(headers).filter(|(theirs, _)| *theirs == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

/// Whether the request carries any cookie of ours.
pub fn any(app: &App, headers: &HeaderMap) -> bool {
    pairs(headers).any(|(name, _)| Name::ALL.iter().any(|ours| ours.on(app) == name))
}

/// Lets through only our own cookies, spelt as we spell them, each of them once.
///
/// The same name twice is none: somebody who can plant a cookie beside ours could otherwise choose which of
/// the two we see (cookie tossing). Nor is `__Host%2Dlatchkey_session` ours: to a browser that is any name,
/// which a sister host may set, and only a reader that decodes names would take it for the real one.
pub fn keep_ours(app: &App, headers: &mut HeaderMap) {
    if !headers.contains_key(header::COOKIE) {
        return;
    }
    let only = |name: &str| value(headers, name).map(|value| format!("{name}={value}"));
    let ours: Vec<String> = Name::ALL.iter().filter_map(|name| only(name.on(app))).collect();
    match HeaderValue::from_str(&ours.join("; ")) {
        Ok(ours) if !ours.is_empty() => headers.insert(header::COOKIE, ours),
        _ => headers.remove(header::COOKIE),
    };
}

/// Sees that what is sent under a `__Host-` name is `Secure`: tower-sessions takes its cookie away without
/// that word, and browsers then keep it.
pub fn make_secure(app: &App, headers: &mut HeaderMap) {
    if !app.public_url.is_https() || !headers.contains_key(header::SET_COOKIE) {
        return;
    }
    let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().map(secure).collect();
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
}

fn secure(cookie: &HeaderValue) -> HeaderValue {
    match cookie.to_str() {
        Ok(text) if !text.contains("; Secure") => {
            HeaderValue::from_str(&format!("{text}; Secure")).unwrap_or(cookie.clone())
        }
        _ => cookie.clone(),
    }
}

/// The cookies of a request, name and value, as they were sent.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(header::COOKIE).iter();
    let all = lines.filter_map(|line| std::str::from_utf8(line.as_bytes()).ok()).flat_map(|line| line.split(';'));
    all.filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.trim(), value.trim()))
}
