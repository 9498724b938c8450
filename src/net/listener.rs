//! One socket: it takes connections until the stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection::{self, Shared};
use super::crowd::Crowd;
use super::tls::Tls;

/// How many connections may wait in the kernel to be taken. The kernel has a limit of its own (`net.core.somaxconn`). A
/// client that finds no room asks again a second later. Of two thousand that come at once, many would find none in
/// tokio's 1024.
const BACKLOG: u32 = 4096;

/// Binds a socket on which connections wait to be taken.
///
/// # Errors
/// When the system does not give the address.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?; // otherwise a restart would wait for the TIME_WAIT of the last connections
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes connections and answers them with `router` until the stop. Then waits until the last connection has ended.
pub async fn accept(
    mut socket: TcpListener,
    router: Router,
    tls: Option<Arc<Tls>>,
    crowd: Arc<Crowd>,
    mut stopped: watch::Receiver<bool>,
) {
    let shared = Shared::new(router, stopped.clone());
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            // axum's own: it waits for a second when there are no files left, and goes on.
            accepted = axum::serve::Listener::accept(&mut socket) => accepted,
            Some(_) = connections.join_next() => continue, // an ended task leaves the set; its result is nothing
            _ = stopped.changed() => break,
        };
        let place = tokio::select! {
            place = crowd.admit(peer.ip()) => place,
            _ = stopped.changed() => break,
        };
        let Some(place) = place else { continue };
        let (tls, shared) = (tls.as_ref().map(|tls| tls.acceptor()), shared.clone());
        let activity = place.activity.clone();
        let serve = async move { connection::serve(stream, peer, &place, tls, shared).await };
        activity.task.get_or_init(|| connections.spawn(serve));
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}
