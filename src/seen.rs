//! What a server says to `latchkey doctor` about one of its requests: what arrived, after all proxies on the way.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The header in which the doctor shows that it has the secret of this installation.
pub const TOKEN: &str = "x-latchkey-doctor";

/// What the server saw of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The version of the server.
    pub version: String,
    /// The host that the request named.
    pub host: String,
    /// The other end of the connection: the client, or the last proxy.
    pub peer: IpAddr,
    /// The address that the limits count by.
    pub client: IpAddr,
    /// `X-Forwarded-For`, one entry for each address in it.
    pub forwarded_for: Vec<String>,
}
