//! The client that sends a request, as far as the network tells.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;
use tracing::warn;

use crate::accounts::Client;
use crate::accounts::token::Token;
use crate::app::App;
use crate::chance;
use crate::lan;
use crate::locale::Locale;
use crate::seen;

/// The only header of proxies that is read, and only from the operator's own proxies.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The ID of a request, written as 16 hexadecimal digits. It links an answer to its lines in the log.
#[derive(Clone, Copy, Debug)]
pub struct RequestId(u64);

impl RequestId {
    /// Returns a new ID.
    pub fn random() -> Self {
        Self(u64::from_le_bytes(chance::label()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The device token of a browser in which a user has logged in before.
#[derive(Clone, Debug)]
pub struct Device(pub Token);

/// The language of a request. Once the user is known, the language that the user has saved takes its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Language {
    /// The language to answer in.
    pub locale: Locale,
    /// The language that was chosen in this browser, if one was.
    pub chosen: Option<Locale>,
}

impl Language {
    /// Returns the language that the headers ask for, or else the site's own.
    pub fn accepted(app: &App, headers: &HeaderMap) -> Self {
        let asked = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Self { locale: asked.and_then(Locale::accepted).unwrap_or(app.settings.language), chosen: None }
    }

    /// Returns the language of this request.
    pub fn of(parts: &Parts) -> Self {
        parts.extensions.get().copied().unwrap_or_default()
    }
}

impl FromRequestParts<Arc<App>> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let Language { locale, chosen } = Language::of(parts);
        let user_agent = user_agent.unwrap_or_default().to_owned();
        let device = parts.extensions.get::<Device>().map(|Device(token)| token.clone());
        let request_id = parts.extensions.get::<RequestId>().map(ToString::to_string).unwrap_or_default();
        Ok(Self { ip: ip(parts, app), via: None, user_agent, locale, chosen, device, request_id })
    }
}

/// Returns the client's address: the other end of the connection, or what our proxies say in its place.
pub fn ip(parts: &Parts, app: &App) -> Option<IpAddr> {
    let hops = hops(parts);
    let hops: Vec<&str> = hops.iter().map(String::as_str).collect();
    Some(behind_proxies(peer(parts)?, &hops, &app.settings.trusted_proxies))
}

/// Returns the other end of the connection.
pub fn peer(parts: &Parts) -> Option<IpAddr> {
    let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(peer.ip().to_canonical())
}

/// Returns the entries of `X-Forwarded-For`. One odd byte in the part that the client wrote does not hide what the proxy
/// wrote after it.
pub fn hops(parts: &Parts) -> Vec<String> {
    let lines = parts.headers.get_all(FORWARDED_FOR).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    lines.flat_map(|line| line.split(',').map(|hop| hop.trim().to_owned()).collect::<Vec<_>>()).collect()
}

/// Returns the address that our own proxies saw. `X-Forwarded-For` grows to the right, and only the part that a proxy of
/// ours has written is worth anything: the client may have made up everything to the left of it.
fn behind_proxies(peer: IpAddr, hops: &[&str], ours: &[IpNet]) -> IpAddr {
    let trusted = |ip: &IpAddr| ours.iter().any(|net| net.contains(ip));
    let mut client = peer;
    for hop in hops.iter().rev() {
        if !trusted(&client) {
            break;
        }
        let Some(next) = parse_hop(hop.trim()) else { break };
        client = next.to_canonical();
    }
    client
}

/// Parses an address, to which some proxies add the port.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(|| hop.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}

/// Warns once if a proxy is missing in the settings: all clients behind it would look like one client, and share its
/// limits. Only a peer on a private network counts as a proxy; any other client can send the header too.
pub fn warn_of_unknown_proxy(app: &App, request: &Request) {
    static SAID: AtomicBool = AtomicBool::new(false);
    let headers = request.headers();
    // The doctor forges the header, and says itself what is wrong with the proxies.
    if !app.settings.trusted_proxies.is_empty()
        || !headers.contains_key(FORWARDED_FOR)
        || headers.contains_key(seen::TOKEN)
    {
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

/// Returns whether an address belongs to this machine or to a network that the internet does not reach.
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
