//! Mail: what letters say ([`letters`]), when they are sent ([`postman`]), and how they are sent ([`Mailer`]).

mod compose;
pub mod letters;
pub mod postman;
mod probe;

use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use lettre::message::Mailbox;
use lettre::transport::smtp::response::{Category, Severity};
use lettre::transport::smtp::{self, PoolConfig};
use lettre::{AsyncFileTransport, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use crate::accounts::outbox::LEASE;
use crate::config::{Delivery, Settings, Smtp};
use probe::Speech;

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

/// The reason why a letter was not sent.
#[derive(Debug)]
pub struct Refused {
    /// The words of the mail server, or of the network.
    pub why: String,
    /// Whether another attempt would get the same answer.
    pub hopeless: bool,
    /// Whether it is certain that the recipient does not have the letter. After a time-out it is not.
    pub certain: bool,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
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
        mismatch(server).await.map(|why| Refused { why, hopeless: false, certain: true })
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
                let not_written =
                    |why: &dyn fmt::Display| Refused { why: why.to_string(), hopeless: false, certain: true };
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
    let mut refused = match tokio::time::timeout(Mailer::TIMEOUT, smtp.send(message)).await {
        Ok(Ok(answer)) => {
            return Ok(format!("{} {}", answer.code(), answer.message().collect::<Vec<_>>().join(" ")));
        }
        Ok(Err(error)) if error.status().is_some() || error.is_client() => return Err(refusal(&error)),
        Ok(Err(error)) => refusal(&error),
        Err(_) => Refused { why: "the mail server took too long".into(), hopeless: false, certain: false },
    };
    if let Some(why) = mismatch(server).await {
        refused = Refused { why, hopeless: false, certain: true };
    }
    Err(refused)
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

fn refusal(error: &smtp::Error) -> Refused {
    use std::error::Error;
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !why.ends_with(&words) {
            why = format!("{why}: {words}");
        }
        source = cause.source();
    }
    if why.contains("No compatible authentication mechanism") {
        why = "LATCHKEY_SMTP_URL: the mail server offers no log-in that we know (PLAIN, LOGIN); take USER:PASSWORD@ out, or \
               add ?tls=required if it takes log-ins over TLS only"
            .into();
    }
    // 5xx is about this letter, and final. 53x is about our own log-in, which the operator can correct.
    let hopeless = error.status().is_some_and(|code| {
        code.severity == Severity::PermanentNegativeCompletion && code.category != Category::Unspecified3
    });
    let is_unreachable = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).is_some_and(|cause| {
        matches!(
            cause.kind(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
        )
    });
    Refused {
        why,
        hopeless,
        certain: is_unreachable || error.status().is_some() || error.is_tls() || error.is_client(),
    }
}
