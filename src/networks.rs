//! The networks that an IP address counts for, wherever clients are counted.

use std::net::IpAddr;

use ipnet::IpNet;

/// Returns the networks that an address counts for, the smallest first, and how many clients each of them may be.
///
/// An IPv4 address is one client by itself. In IPv6 a /64 is one client, because every client can have any address in
/// its /64. Providers give a /56 to a household and a /48 to every customer who asks for one (RIPE-690), and a /48 has
/// 65 536 networks that would count as one client each. So larger networks count too. They have room for several
/// clients, because a /48 may also be a university or a provider of phones.
pub fn networks(ip: IpAddr) -> impl Iterator<Item = (IpNet, u32)> {
    const V4: &[(u8, u32)] = &[(32, 1)];
    const V6: &[(u8, u32)] = &[(64, 1), (56, 4), (48, 32)];
    let ip = ip.to_canonical();
    let sizes = if ip.is_ipv4() { V4 } else { V6 };
    sizes.iter().filter_map(move |(prefix, clients)| Some((IpNet::new(ip, *prefix).ok()?.trunc(), *clients)))
}

/// Returns the address that stands for one client: the address itself, or the first one of its /64 in IPv6.
pub fn client(ip: IpAddr) -> IpAddr {
    networks(ip).next().map_or(ip, |(network, _)| network.addr())
}

/// Returns the address that stands for the largest network that one customer of a provider can have: the /48 in IPv6.
pub fn widest(ip: IpAddr) -> IpAddr {
    networks(ip).last().map_or(ip, |(network, _)| network.addr())
}
