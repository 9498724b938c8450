//! Our cookies: their names, their attributes, and which of them are read.

use axum::http::{HeaderMap, HeaderValue, header};
use time::Duration;
use tower_cookies::{Cookie, Cookies};
use tower_sessions::cookie::SameSite;

use crate::app::App;
use crate::gate::cookies::{self, pairs};

/// What the names of our cookies begin with on https.
const PREFIX: &str = "__Host-";

listed! {
    /// A cookie of ours, and its name on https.
    ///
    /// Browsers take a cookie whose name begins with `__Host-` only over TLS, only for `/` and only from this very host,
    /// so that a sister host cannot plant one (RFC 6265bis, 4.1.3.2). On http (loopback) the names have no prefix, and a
    /// name without it is never read on https.
    pub enum Name {
        /// The JWT that points at the session.
        Session = "__Host-latchkey_session",
        /// The ID of the visit.
        Visit = "__Host-latchkey_visit",
        /// The token of a reset link, for the form behind it.
        ResetLink = "__Host-latchkey_reset",
        /// The token of a sign-up link, for the form behind it.
        SignupLink = "__Host-latchkey_signup",
        /// The language that was chosen in this browser.
        Language = "__Host-latchkey_lang",
        /// The device token, once a user has logged in here. It opens nothing.
        Device = "__Host-latchkey_device",
        /// The token of a link that says “this was not me”, for its pages.
        NotMeLink = "__Host-latchkey_not_me",
        /// The address that was typed last, so that it need not be typed twice.
        Typed = "__Host-latchkey_typed",
        /// How often this browser was sent on to an app just now.
        Entered = "__Host-latchkey_entered",
        /// The forward cookie. It is for all hosts of the gate domain, so it cannot have the prefix of the others, and every
        /// host there can plant one. It opens nothing but what a proxy asks.
        Forward = "__Secure-latchkey_gate",
    }
}

impl Name {
    /// Returns the name on this site.
    pub fn on(self, app: &App) -> &'static str {
        let secure = self.text();
        match self {
            Self::Forward => cookies::forward(app),
            _ if app.public_url.is_https() => secure,
            _ => secure.strip_prefix(PREFIX).unwrap_or(secure),
        }
    }
}

/// Sets a cookie. Without `max_age` the browser deletes it when it is closed.
pub fn set(cookies: &Cookies, app: &App, name: Name, value: String, max_age: Option<Duration>) {
    let mut cookie = Cookie::build((name.on(app), value))
        .http_only(true)
        .secure(app.public_url.is_https())
        // Lax, not Strict: Strict is not sent after a click in a webmail, where every link of ours is.
        .same_site(SameSite::Lax)
        .path("/")
        .build();
    cookie.set_max_age(max_age);
    if let Some(domain) = domain(app, name) {
        cookie.set_domain(domain);
    }
    cookies.add(cookie);
}

/// Returns the domain of a cookie that is for other hosts too.
fn domain(app: &App, name: Name) -> Option<String> {
    app.settings.gate_domain.as_ref().filter(|_| name == Name::Forward).map(ToString::to_string)
}

/// Returns the cookie's value.
pub fn get(cookies: &Cookies, app: &App, name: Name) -> Option<String> {
    cookies.get(name.on(app)).map(|cookie| cookie.value().to_owned())
}

/// Makes the browser delete a cookie.
pub fn remove(cookies: &Cookies, app: &App, name: Name) {
    if cookies.get(name.on(app)).is_some() {
        let mut gone = Cookie::build((name.on(app), "")).secure(app.public_url.is_https()).path("/").build();
        if let Some(domain) = domain(app, name) {
            gone.set_domain(domain);
        }
        cookies.remove(gone);
    }
}

/// Returns whether the request carries any cookie of ours.
pub fn any(app: &App, headers: &HeaderMap) -> bool {
    pairs(headers).any(|(name, _)| Name::ALL.iter().any(|ours| ours.on(app) == name))
}

/// How often a cookie came.
#[derive(Clone, Copy, PartialEq)]
enum Found<'a> {
    Never,
    Once(&'a str),
    Twice,
}

/// Removes all cookies but our own: spelt as we spell them, each of them once.
///
/// A name that comes twice counts as missing. Otherwise, an attacker who can plant a cookie beside ours could choose which
/// of the two we see (cookie tossing). `__Host%2Dlatchkey_session` is not ours either: a browser lets a sister host set
/// a cookie of that name, and only a reader that decodes names would take it for the real one.
pub fn keep_ours(app: &App, headers: &mut HeaderMap) {
    if !headers.contains_key(header::COOKIE) {
        return;
    }
    let mut found = [Found::Never; Name::ALL.len()];
    for (sent, value) in pairs(headers) {
        if let Some(ours) = Name::ALL.iter().position(|name| name.on(app) == sent) {
            found[ours] = if found[ours] == Found::Never { Found::Once(value) } else { Found::Twice };
        }
    }
    let mut kept = String::with_capacity(512); // enough for most browsers
    for (name, found) in Name::ALL.iter().zip(found) {
        if let Found::Once(value) = found {
            kept.extend([if kept.is_empty() { "" } else { "; " }, name.on(app), "=", value]);
        }
    }
    match HeaderValue::try_from(kept) {
        Ok(kept) if !kept.is_empty() => headers.insert(header::COOKIE, kept),
        _ => headers.remove(header::COOKIE),
    };
}

/// Adds `Secure` to every cookie that is sent on https. tower-sessions deletes its cookie without that word, and browsers
/// then keep a cookie whose name begins with `__Host-`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_but_one_is_one_that_no_sister_host_can_set() {
        for name in Name::ALL {
            let shared = *name == Name::Forward && name.text() == cookies::FORWARD;
            assert!(shared || name.text().starts_with(PREFIX), "{name:?} must begin with {PREFIX}");
            assert_eq!(
                Name::ALL.iter().filter(|other| other.text() == name.text()).count(),
                1,
                "{name:?} is not unique"
            );
        }
    }
}
