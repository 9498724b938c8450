//! Private networks: hosts that the internet cannot reach, told by their address or their name.

use std::net::IpAddr;

/// The ends of names that cannot be registered in the public DNS: mDNS (RFC 6762), ICANN's name for private use, home
/// networks (RFC 8375), tests (RFC 6761), and the one that routers use.
const PRIVATE_NAMES: [&str; 5] = ["local", "internal", "home.arpa", "test", "lan"];

/// Returns whether this address belongs to a private network (RFC 1918, RFC 4193) or to one link. Loopback does not, and
/// neither does 100.64.0.0/10, which the customers of one provider share.
pub fn is_private_ip(ip: &IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Returns whether this host of a URL is on a private network. An IPv6 address may have its brackets. A name is private if
/// the public DNS cannot have it: it ends in one of [`PRIVATE_NAMES`], or it has no dot, as in Compose and Kubernetes.
pub fn is_private(host: &str) -> bool {
    if let Ok(ip) = host.trim_matches(['[', ']']).parse() {
        return is_private_ip(&ip);
    }
    let name = host.to_ascii_lowercase();
    let name = match name.strip_suffix('.') {
        // `ai.` is the public domain of that name. `ai` is looked up in the local network first.
        Some(name) => return name.contains('.') && has_private_end(name),
        None => name,
    };
    // A number is an address: `134744072` and `0x8080808` mean 8.8.8.8.
    let is_name = name.contains(|c: char| c.is_ascii_alphabetic()) && !name.starts_with("0x");
    is_name && (!name.contains('.') || has_private_end(&name))
}

fn has_private_end(name: &str) -> bool {
    PRIVATE_NAMES.iter().any(|end| name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_hosts_are_told_from_public_ones() {
        for host in ["10.0.0.1", "[fd00::2]", "fe80::1", "mailpit", "NAS.local", "a.b.home.arpa", "accounts.lan."] {
            assert!(is_private(host), "{host}");
        }
        for host in [
            "",
            "8.8.8.8",
            "127.0.0.1",
            "[2001:db8::1]",
            "100.64.0.1",
            "ai.",
            "x.lan.example",
            "134744072",
            "0x8080808",
        ] {
            assert!(!is_private(host), "{host}");
        }
    }
}
