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

/// Returns whether the whole internet can reach this address: it belongs to no private network, to no machine itself and to no
/// special use (RFC 6890). A network that embeds IPv4 addresses is as public as the address in it.
pub fn is_public_ip(ip: &IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            // 0/8 is this network, 100.64/10 a provider's, 192.0.0/24 of protocols, 198.18/15 of benchmarks, 240/4 reserved.
            let special = a == 0
                || (a, b & 0xc0) == (100, 64)
                || matches!((a, b, c), (192, 0, 0) | (192, 88, 99))
                || (a, b & 0xfe) == (198, 18)
                || a >= 240;
            !special
                && !ip.is_private()
                && !ip.is_loopback()
                && !ip.is_link_local()
                && !ip.is_multicast()
                && !ip.is_documentation()
        }
        IpAddr::V6(ip) => {
            let parts = ip.segments();
            let v4 = |high: u16, low: u16| {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                is_public_ip(&IpAddr::from([a, b, c, d]))
            };
            match parts {
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => v4(high, low),
                // What is given out is 2000::/3. Protocols (2001::/23) and documentation (2001:db8::/32, 3fff::/20) are in it.
                [0x2001, 0..0x200 | 0xdb8, ..] | [0x3fff, 0..0x1000, ..] => false,
                [first, ..] => first & 0xe000 == 0x2000,
            }
        }
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

    #[test]
    fn public_addresses_are_told_from_all_others() {
        let is_public = |text: &str| is_public_ip(&text.parse().expect("an address"));
        for ip in ["8.8.8.8", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8"]
        {
            assert!(is_public(ip), "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "192.0.0.8",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
            "2001::1",
            "2001:db8::1",
            "2001:10::1",
            "3fff::1",
        ] {
            assert!(!is_public(ip), "{ip}");
        }
    }
}
