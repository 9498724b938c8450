//! A TCP proxy before PostgreSQL, which cuts connections and moves the address to another server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};

use crate::site::locked;

/// A TCP proxy before PostgreSQL.
pub struct Proxy {
    pub port: u16,
    target: Arc<AtomicU16>,
    closed: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(target: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (port, target, closed) = (listener.local_addr()?.port(), Arc::new(AtomicU16::new(target)), Arc::default());
        let connections = Arc::<Mutex<Vec<AbortHandle>>>::default();
        let (to, shut, all): (_, Arc<AtomicBool>, _) = (target.clone(), Arc::clone(&closed), connections.clone());
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if shut.load(Relaxed) {
                    continue; // the client's connection ends
                }
                let address = SocketAddr::from(([127, 0, 0, 1], to.load(Relaxed)));
                let carry = tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(address).await {
                        let _ = (client.set_nodelay(true), server.set_nodelay(true)); // slower, and no more
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await; // either may hang up
                    }
                });
                locked(&all).push(carry.abort_handle());
            }
        });
        Ok(Self { port, target, closed, connections, task })
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        locked(&self.connections).drain(..).for_each(|connection| connection.abort());
    }

    /// Takes no new connections, or takes them again.
    pub fn close(&self, closed: bool) {
        self.closed.store(closed, Relaxed);
    }

    /// Moves the address to another server.
    pub fn lead_to(&self, port: u16) {
        self.target.store(port, Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}
