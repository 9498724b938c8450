//! Who asks, as far as the network tells.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header;
use axum::http::request::Parts;
use ipnet::IpNet;

use super::language;
use crate::accounts;
use crate::app::App;

/// The [`accounts::Client`] of this request. Its language is the one that a user has saved if [`CurrentUser`] is
/// named before it.
///
/// [`CurrentUser`]: super::identity::CurrentUser
pub struct Client(pub accounts::Client);

impl FromRequestParts<Arc<App>> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical());
        let hops: Vec<&str> = parts
            .headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        let ip = peer.map(|peer| behind_proxies(peer, &hops, &app.config.trusted_proxies));
        Ok(Self(accounts::Client {
            ip: ip.map(|ip| ip.to_string()).unwrap_or_default(),
            user_agent: text(header::USER_AGENT).to_owned(),
            locale: language::of(parts, app),
            chosen: language::chosen(app, &parts.headers),
        }))
    }
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
        let Ok(next) = hop.trim().parse::<IpAddr>() else { break };
        client = next.to_canonical();
    }
    client
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
