//! Values as an operator types them. A value that is refused is answered with the text to write instead.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use lettre::message::Mailbox;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use crate::locale::Locale;

/// Reads an address and a port. In other programs `:4210` means every address of the machine. Here a port alone is refused,
/// so that an operator never serves a whole network without writing so.
pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port = text.strip_prefix("localhost").unwrap_or(text);
        match port.strip_prefix(':').unwrap_or(port).parse::<u16>() {
            Ok(port) => format!(
                "has no IP address; write 127.0.0.1:{port} for this machine only, or 0.0.0.0:{port} for every network"
            ),
            Err(_) => "cannot be listened on; write an address and a port, such as 127.0.0.1:3000".to_owned(),
        }
    })
}

/// Reads a network, or one address, which becomes a network of one address.
pub(super) fn network(text: &str) -> Result<IpNet, &'static str> {
    let text = text.trim();
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| "is no IP address; write an address or a network, such as 127.0.0.1 or 10.0.0.0/8")
}

pub(super) fn mailbox(text: &str) -> Result<Mailbox, &'static str> {
    let write = "is not an email address; write accounts@example.com or \"Acme <accounts@example.com>\"";
    text.parse().map_err(|_| write)
}

/// Reads the filter of the log. [`Targets`] takes a word that is no level for the name of a module, and would log everything
/// of a module that does not exist. So each part must have a level.
pub(super) fn log(text: &str) -> Result<String, &'static str> {
    let has_level = |part: &str| part.rsplit('=').next().is_some_and(|level| level.parse::<LevelFilter>().is_ok());
    if text.split(',').all(has_level) && text.parse::<Targets>().is_ok() {
        return Ok(text.to_owned());
    }
    Err(
        "has no such level; write error, warn, info, debug, trace or off, or a level per module as in \"info,latchkey::mail=debug\"",
    )
}

pub(super) fn language(tag: &str) -> Result<Locale, String> {
    let have = || Locale::iter().map(|locale| locale.tag()).collect::<Vec<_>>().join(", ");
    tag.parse().map_err(|_| format!("is none of {}", have()))
}

pub(super) fn site_name(text: &str) -> Result<String, &'static str> {
    let name = text.trim();
    match name.chars().count() {
        0 => Err("is empty"),
        1..=60 if !name.chars().any(char::is_control) => Ok(name.to_owned()),
        _ => Err("must be 60 characters or fewer, on one line"),
    }
}
