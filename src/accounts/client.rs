//! The client that asks, and what is stored of it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::token::Token;
use crate::locale::Locale;

/// What is stored of a browser's description of itself, in characters.
const USER_AGENT_MAX: usize = 256;

/// The client that sent a request, as far as the network tells.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The IP address, if the network tells one.
    pub ip: Option<IpAddr>,
    /// The app that speaks for the client, and that has named its address.
    pub via: Option<Uuid>,
    /// The browser's description of itself, which is text of a stranger.
    pub user_agent: String,
    /// The language of the page that asks.
    pub locale: Locale,
    /// The language that was chosen in this browser, if one was.
    pub chosen: Option<Locale>,
    /// The device token of this browser, if an account knows it. It is `None` in a GET, because only forms need it.
    pub device: Option<Token>,
    /// The request ID, which is in the lines of the request in the log.
    pub request_id: String,
}

impl Client {
    /// Returns the IP address as it is stored: empty if there is none.
    pub(super) fn ip_text(&self) -> String {
        self.ip.map(|ip| ip.to_string()).unwrap_or_default()
    }

    /// Returns as much of the browser's description as is stored.
    pub(super) fn stored_user_agent(&self) -> String {
        self.user_agent.chars().take(USER_AGENT_MAX).collect()
    }
}

/// When and from where something was asked or done, for the letter and the event about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The time.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The IP address, empty if there is none.
    pub ip: String,
    /// The browser's description of itself.
    #[serde(default)]
    pub user_agent: String,
    /// The request ID.
    #[serde(default)]
    pub request_id: String,
}

impl Asked {
    pub(super) fn new(client: &Client, now: OffsetDateTime) -> Self {
        let request_id = client.request_id.clone();
        Self { at: now, ip: client.ip_text(), user_agent: client.stored_user_agent(), request_id }
    }

    /// Returns the value for what a command on the server did. A command has no address and no browser.
    pub(super) fn of_a_command(now: OffsetDateTime) -> Self {
        Self { at: now, ip: String::new(), user_agent: String::new(), request_id: String::new() }
    }
}
