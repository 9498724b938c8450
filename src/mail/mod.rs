//! Mail: what letters say ([`letters`]), when they are sent ([`postman`]), and how they are sent ([`Mailer`]).

mod compose;
pub mod letters;
pub mod postman;
mod probe;
mod refused;
mod round_trip;

use std::fmt;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use lettre::message::Mailbox;
use lettre::transport::smtp::{self, PoolConfig};
use lettre::{Address, AsyncFileTransport, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use crate::accounts::outbox::LEASE;
use crate::config::{Delivery, Settings, Smtp};
use probe::Speech;
pub use round_trip::Trip;

use refused::tame;
pub use refused::{Refused, Trouble};

/// A way to hand letters to the mail server, or to the mailbox folder when there is none.
pub struct Mailer {
    transport: Transport,
    sender: Sender,
}

/// The addresses that letters come from.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The sender.
    pub from: Mailbox,
    /// The address for answers, if it is another one.
    pub reply_to: Option<Mailbox>,
}

enum Transport {
    Smtp { smtp: AsyncSmtpTransport<Tokio1Executor>, server: Smtp },
    Folder { incoming: AsyncFileTransport<Tokio1Executor>, dir: PathBuf },
}

// Otherwise a second postman would take a letter while the first one still sends it, or asks what the port speaks.
const _: () = assert!(Mailer::TIMEOUT.as_secs() + probe::TAKES.as_secs() < LEASE.whole_seconds().unsigned_abs());

impl Mailer {
    /// The time in which a letter must be sent.
    const TIMEOUT: Duration = Duration::from_secs(15);
    /// The folder in which a letter is written before it is moved into the mailbox, so that no reader sees half a letter.
    const INCOMING: &str = ".incoming";

    /// Returns the mailer that the settings ask for.
    ///
    /// # Errors
    /// One line that names the setting.
    pub fn new(config: &Settings) -> anyhow::Result<Self> {
        let transport = match &config.delivery {
            Delivery::Smtp(server) => Transport::Smtp { smtp: Self::smtp(server)?, server: server.clone() },
            Delivery::Folder(dir) => {
                let incoming = dir.join(Self::INCOMING);
                let made = DirBuilder::new().recursive(true).mode(0o700).create(&incoming);
                made.with_context(|| format!("LATCHKEY_DATA_DIR: cannot make {}", incoming.display()))?;
                Transport::Folder { incoming: AsyncFileTransport::new(incoming), dir: dir.clone() }
            }
        };
        let sender = Sender { from: config.mail_from.clone(), reply_to: config.mail_reply_to.clone() };
        Ok(Self { transport, sender })
    }

    fn smtp(smtp: &Smtp) -> anyhow::Result<AsyncSmtpTransport<Tokio1Executor>> {
        // Certificates are always verified. STARTTLS is required, and not only used when it is offered: an attacker on
        // the way could remove the server's offer and read every reset link (RFC 8314, 4.1).
        let (mut url, tls) = match smtp {
            Smtp::Tls(url) => (url.clone(), None),
            Smtp::StartTls(url) => (url.clone(), Some("required")),
            Smtp::Plain(url) => (url.clone(), None),
        };
        url.set_query(tls.map(|tls| format!("tls={tls}")).as_deref());
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.as_str());
        // The message does not repeat the URL, which may hold a password.
        let builder = builder.map_err(|why| anyhow::anyhow!("LATCHKEY_SMTP_URL: {why}"))?;
        let pool = PoolConfig::new().max_size(postman::AT_ONCE as u32).idle_timeout(Duration::from_secs(20));
        Ok(builder.pool_config(pool).build())
    }

    /// Returns the sender.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Returns what to write in `SMTP_URL` if its scheme is not what the server's port speaks. It takes two seconds.
    pub async fn mismatch(&self) -> Option<Refused> {
        let Transport::Smtp { server, .. } = &self.transport else { return None };
        mismatch(server).await.map(Refused::mismatch)
    }

    /// Connects to the mail server as for a letter, and asks it for a sign of life. It names no address.
    ///
    /// # Errors
    /// When a letter would not get as far as its addresses.
    pub async fn greet(&self) -> Result<(), Refused> {
        let Transport::Smtp { smtp, server } = &self.transport else { return Ok(()) };
        let refused = match tokio::time::timeout(Self::TIMEOUT, smtp.test_connection()).await {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => Refused::broken(),
            Ok(Err(error)) => Refused::from(&error),
            Err(_) => Refused::too_slow(),
        };
        Err(explained(refused, server).await)
    }

    /// Talks to the mail server up to the recipient, and sends nothing.
    ///
    /// # Errors
    /// When the server cannot be reached, or does not accept us.
    pub async fn round_trip(&self, to: &Address) -> Result<Trip, Refused> {
        let Transport::Smtp { server, .. } = &self.transport else { return Ok(Trip::Through) };
        let talking = tokio::time::timeout(Self::TIMEOUT, round_trip::talk(server, &self.sender.from.email, to));
        // A scheme that does not fit the port is seen in two seconds, and otherwise ends in a time-out or in words of TLS.
        let talked = tokio::select! {
            talked = talking => talked,
            Some(refused) = self.mismatch() => return Err(refused),
        };
        let why = match talked {
            Ok(Ok(trip)) => return Ok(trip),
            Ok(Err(error)) if error.status().is_some() => return Err(Refused::from(&error)),
            Ok(Err(error)) => Refused::from(&error),
            Err(_) => Refused::too_slow(),
        };
        Err(self.mismatch().await.unwrap_or(why))
    }

    /// Sends the letter. When this returns, the mail server has taken it or the file is in the folder. Returns the words
    /// of the server, or the name of the file.
    ///
    /// # Errors
    /// When the letter was not taken, or may not have been.
    pub async fn send(&self, message: Message) -> Result<String, Refused> {
        match &self.transport {
            Transport::Smtp { smtp, server } => send(smtp, server, message).await,
            Transport::Folder { incoming, dir } => {
                let not_written = |why: &dyn fmt::Display| Refused::by_us(why, false);
                let id = incoming.send(message).await.map_err(|why| not_written(&why))?;
                let name = format!("{id}.eml");
                fs::rename(dir.join(Self::INCOMING).join(&name), dir.join(&name)).map_err(|why| not_written(&why))?;
                Ok(name)
            }
        }
    }
}

async fn send(smtp: &AsyncSmtpTransport<Tokio1Executor>, server: &Smtp, message: Message) -> Result<String, Refused> {
    // lettre's own time-out covers the connection up to the greeting, but a server may stop answering at any line.
    let refused = match tokio::time::timeout(Mailer::TIMEOUT, smtp.send(message)).await {
        Ok(Ok(answer)) => {
            return Ok(tame(&format!("{} {}", answer.code(), answer.message().collect::<Vec<_>>().join(" "))));
        }
        Ok(Err(error)) => Refused::from(&error),
        Err(_) => Refused::too_slow(),
    };
    Err(explained(refused, server).await)
}

/// Returns what to write in `SMTP_URL`, if that is why the mail server did not answer in SMTP.
async fn explained(refused: Refused, server: &Smtp) -> Refused {
    let unclear = matches!(refused.trouble, Some(Trouble::Timeout | Trouble::Tls | Trouble::Broken));
    let why = if unclear { mismatch(server).await } else { None };
    why.map_or(refused, Refused::mismatch)
}

/// Returns what to write in `SMTP_URL` if its scheme is not what the server's port speaks. An SMTP client and a TLS server
/// each wait for the other to begin until one of them gives up, and neither can say why.
async fn mismatch(server: &Smtp) -> Option<String> {
    let url = server.url();
    let host = url.host_str()?;
    let (scheme, default_port) = match server {
        Smtp::Tls(_) => ("smtps", smtp::SUBMISSIONS_PORT),
        Smtp::StartTls(_) => ("smtp", smtp::SUBMISSION_PORT),
        Smtp::Plain(_) => ("smtp", smtp::SMTP_PORT),
    };
    let port = url.port().unwrap_or(default_port);
    let (speaks, fits) = match probe::speech(host, port).await? {
        Speech::Tls => ("speaks TLS from the first byte", "smtps"),
        Speech::Plain => ("speaks plain text first, and STARTTLS at most", "smtp"),
    };
    let log_in = if url.username().is_empty() { "" } else { "USER:PASSWORD@" };
    let place = format!("{host}:{port}");
    let write = format!("{place} {speaks}; write LATCHKEY_SMTP_URL={fits}://{log_in}{place}");
    (fits != scheme).then_some(write)
}
