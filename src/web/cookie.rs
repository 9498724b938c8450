//! Our cookies: their names, their attributes, and which of them are read.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
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
}

impl Name {
    const ALL: [Self; 4] = [Self::Session, Self::Visit, Self::ResetLink, Self::SignupLink];

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

/// Whether the request carries any cookie of ours.
pub fn any(request: &Request, app: &App) -> bool {
    pairs(request).any(|(name, _)| Name::ALL.iter().any(|ours| ours.on(app) == name))
}

/// Lets through only our own cookies, spelt as we spell them, each of them once; and sees that what we send
/// back under a `__Host-` name is `Secure`, its removal too, or browsers would not take it.
///
/// The same name twice is none: somebody who can plant a cookie beside ours could otherwise choose which of
/// the two we see (cookie tossing). Nor is `__Host%2Dlatchkey_session` ours: to a browser that is any name,
/// which a sister host may set, and only a reader that decodes names would take it for the real one.
pub async fn only_ours(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let ours: Vec<String> = Name::ALL
        .iter()
        .filter_map(|name| {
            let mut values = pairs(&request).filter(|(theirs, _)| *theirs == name.on(&app)).map(|(_, value)| value);
            let (value, None) = (values.next()?, values.next()) else { return None };
            Some(format!("{}={value}", name.on(&app)))
        })
        .collect();
    request.headers_mut().remove(header::COOKIE);
    if let Ok(ours) = HeaderValue::from_str(&ours.join("; "))
        && !ours.is_empty()
    {
        request.headers_mut().insert(header::COOKIE, ours);
    }

    let mut response = next.run(request).await;
    if app.public_url.is_https() {
        let cookies: Vec<HeaderValue> = response.headers().get_all(header::SET_COOKIE).iter().map(secure).collect();
        response.headers_mut().remove(header::SET_COOKIE);
        for cookie in cookies {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    response
}

fn secure(cookie: &HeaderValue) -> HeaderValue {
    match cookie.to_str() {
        Ok(text) if !text.contains("; Secure") => {
            HeaderValue::from_str(&format!("{text}; Secure")).unwrap_or(cookie.clone())
        }
        _ => cookie.clone(),
    }
}

/// The cookies of the request, name and value, as they were sent.
fn pairs(request: &Request) -> impl Iterator<Item = (&str, &str)> {
    let headers = request.headers().get_all(header::COOKIE).iter();
    let all = headers.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok()).flat_map(|value| value.split(';'));
    all.filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.trim(), value.trim()))
}
