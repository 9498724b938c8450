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
    pairs(request).any(|pair| Name::ALL.iter().any(|name| name.on(app) == name_of(pair)))
}

/// The same name twice is none: somebody who can plant a cookie beside ours could otherwise choose which of
/// the two we see (cookie tossing).
pub async fn refuse_doubles(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let doubled: Vec<&str> = Name::ALL
        .iter()
        .map(|name| name.on(&app))
        .filter(|name| pairs(&request).filter(|pair| name_of(pair) == *name).count() > 1)
        .collect();
    if !doubled.is_empty() {
        let rest: Vec<&str> = pairs(&request).filter(|pair| !doubled.contains(&name_of(pair))).collect();
        let rest = HeaderValue::from_str(&rest.join("; "));
        request.headers_mut().remove(header::COOKIE);
        if let Ok(rest) = rest {
            request.headers_mut().insert(header::COOKIE, rest);
        }
    }
    next.run(request).await
}

fn pairs(request: &Request) -> impl Iterator<Item = &str> {
    let headers = request.headers().get_all(header::COOKIE).iter();
    headers.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';')).map(str::trim)
}

fn name_of(pair: &str) -> &str {
    pair.split('=').next().unwrap_or_default().trim()
}
