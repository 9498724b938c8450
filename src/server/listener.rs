//! Where connections come in, and how many, for how long.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;

use super::connection::{self, Shared};
use super::crowd::Crowd;
use super::tls::Tls;
use crate::config::Config;
use crate::gate::client::is_near;

/// How many connections may wait in the kernel to be taken; it has bounds of its own (`net.core.somaxconn`). Who finds
/// no room tries again a second later, and two thousand who come at once would find too little in tokio's 1024.
const BACKLOG: u32 = 4096;
/// Open files that are no connections of clients: the database's, the mail server's, letters, the log.
const OTHER_FILES: u64 = 128;

/// What connections are allowed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a connection may take to bring its first request, the TLS handshake included.
    pub first_request: Duration,
    /// How long it may wait between two, or be busy without a pause. More than the minute for which proxies keep
    /// theirs: whoever closes an idle connection first should be the one who would write to it.
    pub pause: Duration,
    /// How long a client may take nothing of an answer, of which 16 KB count as something.
    pub unread: Duration,
    /// How many bytes all requests that are half read and all answers that are not taken may hold.
    pub memory: usize,
    /// How many there may be in all.
    pub connections: usize,
    /// How many of them from one address (IPv6: from one /64; four times as many from a /56, 32 times from a /48). A proxy that is trusted is nobody's address. Never more
    /// than an eighth of all, or one client could fill the server.
    pub per_client: usize,
    /// How often to look for renewed TLS files.
    pub renew_every: Duration,
}

impl Default for Limits {
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

/// The sockets to serve.
pub struct Listener {
    /// Where the site is.
    pub(super) tcp: TcpListener,
    /// What it speaks there, if not plain HTTP.
    pub(super) tls: Option<Arc<Tls>>,
    /// Where plain HTTP is sent on to TLS.
    pub(super) redirect: Option<TcpListener>,
    /// Where what is counted can be read.
    pub(super) metrics: Option<TcpListener>,
    /// What connections are allowed.
    pub limits: Limits,
}

impl From<TcpListener> for Listener {
    fn from(tcp: TcpListener) -> Self {
        Self { tcp, tls: None, redirect: None, metrics: None, limits: Limits::default() }
    }
}

impl Listener {
    /// Reads the TLS files and binds what the settings say.
    ///
    /// # Errors
    /// One line that names the setting.
    pub fn bind(config: &Config) -> anyhow::Result<Self> {
        let tls = Tls::open(config)?;
        let bind = |setting: &str, address: SocketAddr| {
            listen(address).with_context(|| format!("{setting}: cannot listen on {address}"))
        };
        let tcp = bind("LATCHKEY_LISTEN", config.listen)?;
        let redirect = config.redirect_listen.map(|address| bind("LATCHKEY_REDIRECT_LISTEN", address)).transpose()?;
        let metrics = config.metrics_listen.map(|address| bind("LATCHKEY_METRICS_LISTEN", address)).transpose()?;
        if let Some(address) = config.metrics_listen.filter(|address| !is_near(&address.ip())) {
            warn!(
                "LATCHKEY_METRICS_LISTEN: whoever reaches {address} can find out who has an account; there is no password"
            );
        }
        Ok(Self { tcp, tls, redirect, metrics, limits: Limits::default() })
    }

    /// Where the site is; the port may have been left to the system.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Asks the system for as many open files as it gives, and takes no more connections than fit.
    pub fn fit_files(&mut self) {
        let files = getrlimit(Resource::Nofile);
        let raised = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: files.maximum, ..files });
        let files = if raised.is_ok() { files.maximum } else { files.current };
        let fit = files.map_or(usize::MAX, |files| files.saturating_sub(OTHER_FILES).max(1) as usize);
        if fit < self.limits.connections {
            self.limits.connections = fit;
            warn!(connections = fit, "the limit on open files (ulimit -n, LimitNOFILE=) has no room for more");
        }
        // Where files are few, 256 connections of one client would be all that there may be.
        self.limits.per_client = self.limits.per_client.min(self.limits.connections / 8).max(1);
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?; // else a restart would wait for the last connections' TIME_WAIT
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes connections until the stop, then waits for those there are.
pub async fn accept(
    mut tcp: TcpListener,
    router: Router,
    tls: Option<Arc<Tls>>,
    crowd: Arc<Crowd>,
    mut stopped: watch::Receiver<bool>,
) {
    let shared = Shared::new(router, stopped.clone());
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            // axum's: it waits a second when there are no files left, and goes on.
            came = axum::serve::Listener::accept(&mut tcp) => came,
            Some(_ended) = connections.join_next() => continue,
            _ = stopped.changed() => break,
        };
        let guest = tokio::select! {
            guest = crowd.admit(peer.ip()) => guest,
            _ = stopped.changed() => break,
        };
        let Some(guest) = guest else { continue };
        let (tls, shared) = (tls.as_ref().map(|tls| tls.acceptor()), shared.clone());
        let activity = guest.activity.clone();
        let serve = async move { connection::serve(stream, peer, &guest.activity, tls, shared).await };
        activity.task.get_or_init(|| connections.spawn(serve));
    }
    drop(tcp);
    while connections.join_next().await.is_some() {}
}
