//! Whether a request was meant for this site, by the name that it asks for.
//!
//! A page of another site whose name is made to lead here (DNS rebinding) would otherwise be of one origin with our
//! answers, and a cache that goes by a made-up name would keep them. So no other name is answered, not even on a
//! developer's machine, where any name of the loopback will do but no others. The name is compared and thrown away:
//! what we write, we write with `PUBLIC_URL`. `X-Forwarded-Host`, `X-Forwarded-Proto` and `Forwarded` are not read.

use axum::extract::Request;
use axum::http::{StatusCode, header};

use super::error::Error;
use crate::app::App;
use crate::urls;

/// Refuses a request for another site, and one that does not say for which it is.
pub fn check(app: &App, request: &Request) -> Result<(), Error> {
    // Load balancers ask by address.
    if [urls::HEALTHZ, urls::READYZ].contains(&request.uri().path()) {
        return Ok(());
    }
    match names(request)?.find(|host| !app.public_url.is_at(host)) {
        Some(elsewhere) => Err(Error::misdirected(elsewhere)),
        None => Ok(()),
    }
}

/// Returns the names, with their ports, that a request asks for: HTTP/2's `:authority`, or the target of a request that
/// takes us for a proxy, and `Host`, which may say the same again.
///
/// # Errors
/// 400 when there is no name, or more than one `Host` (RFC 9112, 3.2).
pub fn names(request: &Request) -> Result<impl Iterator<Item = &str>, StatusCode> {
    let target = request.uri().authority().map(|authority| authority.as_str());
    let mut hosts = request.headers().get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or("?"));
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() || target.or(host).is_none() {
        return Err(StatusCode::BAD_REQUEST);
    }
    Ok([target, host].into_iter().flatten())
}
