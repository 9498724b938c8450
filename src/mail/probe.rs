//! What a mail server's port speaks: TLS from the first byte (SMTPS, as on port 465), or SMTP in plain text, with STARTTLS
//! later or never (as on ports 587 and 25). RFC 8314, 3.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// The time that each step may take. Nothing is said about a server that is slower.
const STEP: Duration = Duration::from_secs(1);
/// The longest time that [`speech`] takes: it has three steps.
pub const TAKES: Duration = Duration::from_secs(3 * STEP.as_secs());

/// What a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// TLS from the first byte.
    Tls,
    /// Plain text. The server speaks first, and begins with a number of three digits (RFC 5321, 4.2).
    Plain,
}

/// Opens a connection and returns what the port speaks, or `None` if that is not clear. No name, no password and no letter
/// is sent, whatever the server answers.
pub async fn speech(host: &str, port: u16) -> Option<Speech> {
    let mut stream = timeout(STEP, TcpStream::connect((host, port))).await.ok()?.ok()?;
    let mut first = [0; 3];
    match timeout(STEP, stream.read_exact(&mut first)).await {
        Ok(read) => (read.is_ok() && first.iter().all(u8::is_ascii_digit)).then_some(Speech::Plain),
        // The server waits for us to speak, as a TLS server does.
        Err(_) => timeout(STEP, answers_tls(host, stream)).await.ok()?.then_some(Speech::Tls),
    }
}

/// Returns whether the server answers a TLS handshake with its certificate or with an alert. No authority is trusted here,
/// so that the handshake always ends before anything is sent under its protection.
async fn answers_tls(host: &str, stream: TcpStream) -> bool {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let (Ok(config), Ok(name)) = (config, ServerName::try_from(host.to_owned())) else { return false };
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(_) => true,
        Err(why) => is_of_tls(&why),
    }
}

fn is_of_tls(why: &io::Error) -> bool {
    let why = why.get_ref().and_then(|why| why.downcast_ref::<rustls::Error>());
    matches!(why, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)))
}
