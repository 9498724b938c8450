//! The accept loop: it takes connections, speaks TLS and HTTP on them, and ends the ones that cost too much.
//!
//! This room knows nothing of settings, accounts or pages. `server` gives it sockets, an axum router and
//! [`ConnectionLimits`]. Its job is that an attacker who holds connections open, or makes the server hold memory, is cut
//! before honest visitors notice.
//!
//! The modules, each of which imports only modules above it:
//!
//! | module | is about |
//! |---|---|
//! | `limits` | what connections may take: time, memory, places |
//! | `memory` | the bytes that all requests and responses hold together |
//! | `activity` | one connection: what its requests wait for, since when, and what they hold |
//! | `crowd` | all connections: a place for each, and who is ended when there is no place or no memory |
//! | `exchange` | one request and its response, which report to the activity of their connection |
//! | `linger` | the end of a connection, which lets the last response arrive |
//! | `connection` | one connection from its TLS handshake to its end, under one clock |
//! | `tls` | the certificate and its key, read again when the files change |
//! | `redirect` | the router for plain HTTP beside TLS |
//! | `listener` | one socket: it takes connections until the stop |

mod activity;
mod connection;
mod crowd;
mod exchange;
mod limits;
mod linger;
mod listener;
mod memory;
pub mod redirect;
mod tls;

pub use crowd::Crowd;
pub use limits::ConnectionLimits;
pub use listener::{accept, listen};
pub use tls::Tls;
