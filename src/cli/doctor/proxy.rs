//! What the proxies on the way do to a request, as the server has seen it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Finding, fail, ok, warn};
use crate::config::Settings;
use crate::seen::Seen;

/// An address that no client has (RFC 5737). The doctor writes it into `X-Forwarded-For`, as an attacker does who wants to
/// have limits of their own.
pub(super) const FORGED: &str = "203.0.113.77";

/// Returns a line if `Host` did not arrive as it was sent.
pub(super) fn host(settings: &Settings, seen: &Seen) -> Option<Finding> {
    let site = &settings.public_url;
    (!site.is_at(&seen.host)).then(|| {
        fail(
            "host",
            format!("the proxy changed Host to {}, so every page is refused (421); let it pass Host on", seen.host),
        )
    })
}

/// Looks at whether the server sees the client, or only the proxy.
pub(super) fn client(settings: &Settings, seen: &Seen) -> Finding {
    let Seen { peer, client, forwarded_for, .. } = seen;
    // Without a certificate of our own, https ends at a proxy.
    let must_have_proxy = settings.public_url.is_https() && settings.tls.is_none();
    let trusted = |net: &IpNet| net.contains(peer);
    if forwarded_for.is_empty() {
        return if must_have_proxy || settings.trusted_proxies.iter().any(trusted) {
            fail(
                "proxy",
                format!(
                    "the proxy at {peer} sends no X-Forwarded-For, so all clients count as one; let it set the header"
                ),
            )
        } else {
            ok("proxy", format!("there is none: the server sees {peer} itself"))
        };
    }
    // A doctor on the proxy's machine has the proxy's own address.
    let last = forwarded_for.last().and_then(|hop| hop.parse::<IpAddr>().ok());
    let is_same_machine = last == Some(*peer) && settings.trusted_proxies.iter().any(trusted);
    if client == peer && !is_same_machine {
        return fail(
            "proxy",
            format!(
                "the server takes the proxy at {peer} for the client, so all clients count as one; add {peer} to LATCHKEY_TRUSTED_PROXIES and restart"
            ),
        );
    }
    ok("proxy", format!("the server sees the client {client} behind the proxy {peer}"))
}

/// Looks at what became of a forged `X-Forwarded-For`.
pub(super) fn forged(seen: &Seen) -> Finding {
    let Seen { peer, client, forwarded_for, .. } = seen;
    if client.to_string() != FORGED {
        return ok("forgery", "a forged X-Forwarded-For does not count");
    }
    match forwarded_for.iter().rev().find(|hop| *hop != FORGED) {
        None => fail(
            "forgery",
            format!(
                "clients can choose the address that the limits count by: {peer} passes X-Forwarded-For on as it comes. Let it set the header, or take {peer} out of LATCHKEY_TRUSTED_PROXIES if it is no proxy"
            ),
        ),
        // A proxy saw the doctor come from its own machine, from which no other client comes.
        Some(hop) if hop.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()) => warn(
            "forgery",
            format!(
                "cannot be told from here: {hop} is in LATCHKEY_TRUSTED_PROXIES, and the doctor comes from there. Let the proxy replace X-Forwarded-For instead of adding to it, or run this on another machine"
            ),
        ),
        Some(hop) => fail(
            "forgery",
            format!(
                "clients at {hop} can choose the address that the limits count by: LATCHKEY_TRUSTED_PROXIES is too wide. Name the proxies only"
            ),
        ),
    }
}
