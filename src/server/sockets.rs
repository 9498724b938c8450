//! The sockets that the settings ask for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tracing::warn;

use crate::config::{Settings, TlsFiles};
use crate::gate::client::is_near;
use crate::net::{ConnectionLimits, Tls, listen};

/// The sockets to serve on.
pub struct Sockets {
    /// The one for the site.
    pub(super) site: TcpListener,
    /// TLS for the site's socket. Without it, the site speaks plain HTTP.
    pub(super) tls: Option<Arc<Tls>>,
    /// The one that sends plain HTTP on to TLS.
    pub(super) redirect: Option<TcpListener>,
    /// The one for Prometheus.
    pub(super) metrics: Option<TcpListener>,
    /// What connections may take.
    pub limits: ConnectionLimits,
}

impl Sockets {
    /// Reads the TLS files and binds the sockets that the settings name.
    ///
    /// # Errors
    /// One line that names the setting.
    pub fn bind(config: &Settings) -> anyhow::Result<Self> {
        let tls = config.tls.as_ref().map(|TlsFiles { cert, key }| Tls::open(cert, key)).transpose()?;
        let bind = |setting: &str, address: SocketAddr| {
            listen(address).with_context(|| format!("{setting}: cannot listen on {address}"))
        };
        let site = bind("LATCHKEY_LISTEN", config.listen)?;
        let redirect = config.redirect_listen.map(|address| bind("LATCHKEY_REDIRECT_LISTEN", address)).transpose()?;
        let metrics = config.metrics_listen.map(|address| bind("LATCHKEY_METRICS_LISTEN", address)).transpose()?;
        if let Some(address) = config.metrics_listen.filter(|address| !is_near(&address.ip())) {
            warn!(
                "LATCHKEY_METRICS_LISTEN: an attacker who can reach {address} can find out who has an account; there is no password"
            );
        }
        Ok(Self { site, tls, redirect, metrics, limits: ConnectionLimits::default() })
    }

    /// Returns the address of the site. The settings may leave the port to the system.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn site_address(&self) -> io::Result<SocketAddr> {
        self.site.local_addr()
    }
}
