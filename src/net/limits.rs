//! What connections may take.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// How many open files are no connections of clients: those of the database, the mail server, the emails, the log.
const OTHER_FILES: u64 = 128;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// The time that a connection has for its first request, the TLS handshake included.
    pub first_request: Duration,
    /// The time that a connection may wait between two requests, or be busy without a pause. It is more than the minute
    /// for which proxies keep their idle connections. The side that sends requests should be the one that closes first.
    pub pause: Duration,
    /// The time in which a client may take nothing of a response. 16 KB count as something.
    pub unread: Duration,
    /// The bytes that all requests that are read in part and all responses that are not taken may hold together.
    pub memory: usize,
    /// How many connections there may be in all.
    pub connections: usize,
    /// How many of them one address may have (IPv6: one /64; a /56 may have 4 times as many, a /48 32 times). A trusted
    /// proxy is not counted. It is never more than an eighth of all, or one client could fill the server.
    pub per_client: usize,
    /// How often to look for renewed TLS files.
    pub renew_every: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            first_request: Duration::from_secs(10),
            pause: Duration::from_secs(75),
            unread: Duration::from_secs(10),
            memory: 32 << 20,
            connections: 10_000,
            per_client: 256,
            renew_every: Duration::from_secs(60),
        }
    }
}

impl ConnectionLimits {
    /// Asks the system for as many open files as it gives, and allows no more connections than fit.
    pub fn fit_files(&mut self) {
        let files = getrlimit(Resource::Nofile);
        let raised = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
        let files = if raised.is_ok() { files.maximum } else { files.current };
        let fit = files.map_or(usize::MAX, |files| files.saturating_sub(OTHER_FILES).max(1) as usize);
        if fit < self.connections {
            self.connections = fit;
            warn!(connections = fit, "the limit on open files (ulimit -n, LimitNOFILE=) has no room for more");
        }
        // Where there are few files, the 256 connections of one client could be all that there may be.
        self.per_client = self.per_client.min(self.connections / 8).max(1);
    }
}
