//! Checks that a request is for this site, by the host that it names.
//!
//! Otherwise a page of another site, whose name an attacker points at our address (DNS rebinding), would share an origin
//! with our answers, and a cache would keep our answers under a name that an attacker made up. So we answer to no other
//! name. On a developer's machine we answer to every name of the loopback, and to no others. The name is compared and then
//! thrown away: what we write, we write with `PUBLIC_URL`. `X-Forwarded-Host`, `X-Forwarded-Proto` and `Forwarded` are not
//! read here.

use axum::extract::Request;
use axum::http::header;

use super::error::{Error, ErrorKind};
use crate::app::App;
use crate::urls;

/// Refuses a request for another site, and a request that names no site.
///
/// # Errors
/// 421 for another site, 400 for none.
pub fn check(app: &App, request: &Request) -> Result<(), Error> {
    // Load balancers name our address as host. Proxies that ask who is there may name the app's, and the door for them looks
    // at the host itself (`forward::original`).
    let path = request.uri().path();
    if [urls::HEALTHZ, urls::READYZ, urls::VERIFY].contains(&path) || path.starts_with(urls::VERIFY_ROOT) {
        return Ok(());
    }
    match names(request)?.find(|host| !app.public_url.is_at(host)) {
        Some(elsewhere) => Err(Error::misdirected(elsewhere)),
        None => Ok(()),
    }
}

/// Returns the hosts, with their ports, that a request names: the `:authority` of HTTP/2, or the target of a request that
/// takes us for a proxy, and `Host`, which may repeat it.
///
/// # Errors
/// 400 when there is no name, or more than one `Host` (RFC 9112, 3.2).
pub fn names(request: &Request) -> Result<impl Iterator<Item = &str>, ErrorKind> {
    let target = request.uri().authority().map(|authority| authority.as_str());
    let mut hosts = request.headers().get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or("?"));
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() || target.or(host).is_none() {
        return Err(ErrorKind::BadRequest);
    }
    Ok([target, host].into_iter().flatten())
}
