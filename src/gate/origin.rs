//! Checks that a page of another site did not make a browser send a request (CSRF).

use axum::extract::Request;
use axum::http::Method;

use super::error::Error;
use crate::app::App;
use crate::urls::PublicUrl;

/// Returns whether the method of this request is one that changes nothing (RFC 9110, 9.2.1).
pub fn reads_only(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Returns whether the request has neither of the two headers in which a browser names the page that sends it. A program
/// sends neither.
pub fn is_unnamed(request: &Request) -> bool {
    !["sec-fetch-site", "origin"].iter().any(|name| request.headers().contains_key(*name))
}

/// Refuses a request that a page of another site made a browser send. Log-in and sign-up are included, so an attacker
/// cannot log a visitor in to the attacker's account either. Forms hold no tokens, so a page that was left open overnight
/// still works (OWASP, CSRF Prevention Cheat Sheet, “Fetch Metadata headers”).
///
/// `Origin` is compared whenever the request has one. `Sec-Fetch-Site` alone is not enough: behind a proxy that rewrites
/// `Host`, a page under any name is “same-origin” with our answers (DNS rebinding).
///
/// # Errors
/// 403; the log gets the header.
pub fn check(app: &App, request: &Request) -> Result<(), Error> {
    if reads_only(request) {
        return Ok(());
    }
    // A browser sends each of them once. If two differ, a proxy might believe the other one.
    let header = |name: &str| {
        let mut all = request.headers().get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
        let first = all.next()?;
        Some(if all.next().is_some() { "?" } else { first })
    };
    let ours = app.public_url.origin();
    match (header("sec-fetch-site"), header("origin")) {
        (None | Some("same-origin" | "none"), None) => Ok(()),
        (None | Some("same-origin" | "none"), Some(origin)) if origin == ours => Ok(()),
        // On loopback, developers mix names such as localhost and 127.0.0.1. The browser has compared the ports.
        (Some("same-origin" | "none"), Some(origin)) if is_loopback_too(app, origin) => Ok(()),
        // `none` means that the user acts, not a page: a reload, or a restored tab. Some browsers then have no origin to
        // name. With `same-origin`, a page could hide its own origin by `Referrer-Policy: no-referrer`.
        (Some("none"), Some("null")) => Ok(()),
        (None | Some("same-origin" | "none"), Some(origin)) => Err(Error::cross_site(format!("Origin: {origin}"))),
        (Some(site), _) => Err(Error::cross_site(format!("Sec-Fetch-Site: {site}"))),
    }
}

/// Returns whether both this site and the origin are on loopback.
fn is_loopback_too(app: &App, origin: &str) -> bool {
    app.public_url.is_loopback() && origin.parse().is_ok_and(|origin: PublicUrl| origin.is_loopback())
}
