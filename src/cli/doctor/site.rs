//! The site as others reach it: the server at LISTEN, and PUBLIC_URL with its name, certificate, proxy and redirect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::http::{StatusCode, header};
use tokio::time::timeout;
use url::Url;

use super::super::listing;
use super::{Finding, fail, ok, proxy, warn};
use crate::clock::Clock;
use crate::config::Settings;
use crate::keys::{Keys, Pointer, Use};
use crate::outgoing::{self, Answer, Trust};
use crate::secret::Secret;
use crate::seen::{self, Seen};
use crate::urls;

/// How long each request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a certificate should still be valid. Those of Let's Encrypt are renewed 30 days before their end.
const RENEWED: time::Duration = time::Duration::days(14);
/// How long a token of the doctor lasts.
const TOKEN_LASTS: time::Duration = time::Duration::minutes(1);

/// Asks the server itself, then the site at its public address.
pub(super) async fn check(settings: &Settings, secret: Option<&Secret>, http_port: u16) -> Vec<Finding> {
    let mut found = vec![match timeout(PATIENCE, alive(settings)).await {
        Ok(Ok(())) => ok("server", format!("it answers at {}", settings.listen)),
        Ok(Err(why)) => warn(
            "server",
            format!("no server answers here at {}: {why}; start it, or run this on its machine", settings.listen),
        ),
        Err(_) => warn("server", format!("the server at {} has not answered for 10 seconds", settings.listen)),
    }];
    let asked = public(settings, secret, http_port, &mut found).await;
    found.extend(asked.err());
    found
}

/// Asks the server at LISTEN whether it is alive.
///
/// # Errors
/// In words.
pub(super) async fn alive(settings: &Settings) -> Result<(), String> {
    let trust = Trust::of_this_machine().map_err(|why| format!("{why:#}"))?;
    let mut url = url_of(settings, urls::HEALTHZ)?;
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    // It is the same kind of scheme, so this never fails.
    let _ = url.set_scheme(scheme);
    let answer = outgoing::get(&url, &[reachable(settings.listen)], Some(&trust), &[]).await?;
    if answer.status == StatusCode::OK { Ok(()) } else { Err(format!("it answers {}", answer.status)) }
}

/// Returns an address at which a server that listens on every address can be reached.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn url_of(settings: &Settings, path: &str) -> Result<Url, String> {
    Url::parse(&settings.public_url.at(path)).map_err(|why| why.to_string())
}

/// Looks at the public address from its name to what arrives at the server. The first problem that hides the rest ends it.
async fn public(
    settings: &Settings,
    secret: Option<&Secret>,
    http_port: u16,
    found: &mut Vec<Finding>,
) -> Result<(), Finding> {
    let site = &settings.public_url;
    let red = |why| fail("site", format!("{site}: {why}"));
    let trust = Trust::of_this_machine().map_err(|why| fail("tls", format!("{why:#}")))?;
    let url = url_of(settings, urls::HEALTHZ).map_err(red)?;
    let at = outgoing::addresses(&url).await.map_err(|why| fail("dns", format!("{site}: {why}; add it to the DNS")))?;
    let mut places: Vec<_> = at.iter().map(|address| address.ip().to_string()).collect();
    places.dedup();
    found.push(ok("dns", format!("{} is {}", site.host(), places.join(", "))));

    let ask = async |url: &Url, headers: &[(&str, &str)]| {
        let asked = timeout(PATIENCE, outgoing::get(url, &at, Some(&trust), headers)).await;
        asked.unwrap_or_else(|_| Err("it has not answered for 10 seconds".to_owned()))
    };
    let token = token(settings, secret).map_err(red)?;
    let token = (seen::TOKEN, token.as_str());
    let first = ask(&url, &[token]).await.map_err(red)?;
    found.extend(certificate(&first));
    let seen = seen(&first).map_err(red)?;
    found.push(ok("site", format!("{site} is this installation, version {}", seen.version)));
    found.extend(proxy::host(settings, &seen));
    found.push(proxy::client(settings, &seen));
    let forged = ask(&url, &[token, ("x-forwarded-for", proxy::FORGED)]).await.map_err(red)?;
    found.push(proxy::forged(&self::seen(&forged).map_err(red)?));
    if site.is_https() {
        found.push(redirect(settings, &at, &trust, http_port).await);
    }
    Ok(())
}

/// Returns a token that only a server with the same secret and the same PUBLIC_URL accepts.
fn token(settings: &Settings, secret: Option<&Secret>) -> Result<String, String> {
    let secret = secret.ok_or("cannot be asked who it is without the secret")?;
    let now = Clock::default().now();
    let keys = Keys::new(secret, Use::DOCTOR, settings.public_url.origin());
    keys.mint(Pointer::NOTHING, now, now + TOKEN_LASTS).map_err(|why| why.to_string())
}

fn certificate(answer: &Answer) -> Option<Finding> {
    let left = answer.expires? - Clock::default().now();
    let says = format!("the certificate expires in {}", listing::count(left.whole_days().unsigned_abs(), "day"));
    Some(if left < RENEWED {
        warn("tls", format!("{says}; it should have been renewed: look at what renews it"))
    } else {
        ok("tls", says)
    })
}

/// Reads what the server saw. An answer without it is from another server, or from ours with another secret.
fn seen(answer: &Answer) -> Result<Seen, String> {
    if answer.status != StatusCode::OK {
        return Err(format!("{} answers {}; the proxy must pass every path to Latchkey", urls::HEALTHZ, answer.status));
    }
    serde_json::from_slice(&answer.body).map_err(|_| {
        let is_ours = answer.body.starts_with(b"alive");
        let what = if is_ours { "a Latchkey answers that does not know" } else { "something else answers, which does not know" };
        format!(
            "{what} this secret and this address: it is another installation, its clock is over a minute off, or it was not restarted after a change of the secret or of LATCHKEY_PUBLIC_URL"
        )
    })
}

/// Looks at plain HTTP, which must lead to https on the same host.
async fn redirect(settings: &Settings, at: &[SocketAddr], trust: &Trust, port: u16) -> Finding {
    let site = &settings.public_url;
    let plain = format!("http://{}:{port}", site.host());
    let at: Vec<_> = at.iter().map(|address| SocketAddr::new(address.ip(), port)).collect();
    let Ok(url) = Url::parse(&format!("{plain}{}", urls::LOGIN)) else {
        return fail("redirect", format!("{plain} is no URL"));
    };
    let answer = match timeout(PATIENCE, outgoing::get(&url, &at, Some(trust), &[])).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) => {
            return warn(
                "redirect",
                format!("{plain}: {why}; users who type the name without https find nothing: redirect there"),
            );
        }
        Err(_) => return warn("redirect", format!("{plain} has not answered for 10 seconds; redirect there")),
    };
    let to = answer.headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
    if answer.status.is_redirection() && to == site.at(urls::LOGIN) {
        return ok("redirect", format!("{plain} leads to {site}"));
    }
    let what = if to.is_empty() { "no redirect".to_owned() } else { format!("a redirect to {to}") };
    fail("redirect", format!("{plain} answers {} with {what}; it must lead to {}", answer.status, site.at(urls::LOGIN)))
}
