//! Who asks, as far as the network tells.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;
use tracing::warn;

use crate::accounts;
use crate::accounts::token::Token;
use crate::app::App;
use crate::lan;
use crate::locale::Locale;

/// The one header of proxies that is read, and from our own only.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The number of a request, which is in its lines in the log.
#[derive(Clone, Debug, Default)]
pub struct RequestId(pub String);

/// The name of a browser in which somebody has logged in before.
#[derive(Clone, Debug)]
pub struct Device(pub Token);

/// The language of a request. Whoever finds out who asks puts what that user has saved in its place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Language {
    /// The language to answer in.
    pub locale: Locale,
    /// The language that was chosen in this browser, if one was.
    pub chosen: Option<Locale>,
}

impl Language {
    /// What the request asks for, or else the site's own.
    pub fn accepted(app: &App, headers: &HeaderMap) -> Self {
        let asked = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Self { locale: asked.and_then(Locale::accepted).unwrap_or(app.config.language), chosen: None }
    }

    /// The language of this request.
    pub fn of(parts: &Parts) -> Self {
        parts.extensions.get().copied().unwrap_or_default()
    }
}

/// The [`accounts::Client`] of this request, with the language as it is known when this is named.
pub struct Client(pub accounts::Client);

impl FromRequestParts<Arc<App>> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let Language { locale, chosen } = Language::of(parts);
        let user_agent = user_agent.unwrap_or_default().to_owned();
        let device = parts.extensions.get::<Device>().map(|Device(token)| token.clone());
        let RequestId(request_id) = parts.extensions.get().cloned().unwrap_or_default();
        Ok(Self(accounts::Client { ip: ip(parts, app), user_agent, locale, chosen, device, request_id }))
    }
}

/// The address of whoever asks, empty where the network does not tell.
pub fn ip(parts: &Parts, app: &App) -> String {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical());
    // One odd byte of the client's own must not hide what the proxy wrote after it.
    let lines = parts.headers.get_all(FORWARDED_FOR).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let lines: Vec<_> = lines.collect();
    let hops: Vec<&str> = lines.iter().flat_map(|value| value.split(',')).collect();
    let ip = peer.map(|peer| behind_proxies(peer, &hops, &app.config.trusted_proxies));
    ip.map(|ip| ip.to_string()).unwrap_or_default()
}

/// The address that our own proxies saw. `X-Forwarded-For` grows to the right, and only what a proxy of
/// ours has written is worth anything: whatever stands further left, the client may have made up.
fn behind_proxies(peer: IpAddr, hops: &[&str], ours: &[IpNet]) -> IpAddr {
    let trusted = |ip: &IpAddr| ours.iter().any(|net| net.contains(ip));
    let mut client = peer;
    for hop in hops.iter().rev() {
        if !trusted(&client) {
            break;
        }
        let Some(next) = address(hop.trim()) else { break };
        client = next.to_canonical();
    }
    client
}

/// An address, to which some proxies put the port.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(|| hop.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}

/// Says once when a proxy was forgotten in the settings: whoever comes by it would look like one client, whom the
/// limits hold back together. A proxy is near by; somebody far away can say of himself what he likes.
pub fn warn_of_unknown_proxy(app: &App, request: &Request) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !app.config.trusted_proxies.is_empty() || !request.headers().contains_key(FORWARDED_FOR) {
        return;
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical());
    if let Some(peer) = peer.filter(is_near)
        && !SAID.swap(true, Ordering::Relaxed)
    {
        warn!(
            "LATCHKEY_TRUSTED_PROXIES: {peer} sends X-Forwarded-For, but is no proxy that is trusted; if it is yours, \
             add it, or all who come by it count as one client"
        );
    }
}

/// Whether an address is this machine's or of a network that the world does not reach.
pub fn is_near(ip: &IpAddr) -> bool {
    ip.is_loopback() || lan::is_private_ip(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_proxies_are_believed() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let ours = ["10.0.0.0/8".parse().expect("a network")];
        let seen = |peer, hops: &[&str]| behind_proxies(ip(peer), hops, &ours).to_string();
        assert_eq!(seen("203.0.113.9", &["1.2.3.4"]), "203.0.113.9");
        assert_eq!(seen("10.0.0.1", &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6", "1.2.3.4", " 10.0.0.2"]), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
    }
}
