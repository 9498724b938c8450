//! A conversation with the mail server up to the recipient, in which no email is sent.

use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{self, Error};
use percent_encoding::percent_decode_str;

use super::refused::Refused;
use crate::config::Smtp;

/// How long the greeting may take.
const GREETING: Duration = Duration::from_secs(10);

/// How far the conversation came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trip {
    /// The server takes an email from us to this recipient.
    Through,
    /// It knows us, and refuses the recipient or the sender. These are its words.
    NotTo(String),
}

/// Connects, encrypts, logs in, and names the sender and the recipient. Then it takes all back (RSET) and ends.
///
/// # Errors
/// When the server cannot be reached, or does not accept us.
pub(super) async fn talk(server: &Smtp, from: &Address, to: &Address) -> Result<Trip, Error> {
    let url = server.url();
    let host = url.host_str().unwrap_or_default();
    let (tls_at_once, starttls, default_port) = match server {
        Smtp::Tls(_) => (true, false, smtp::SUBMISSIONS_PORT),
        Smtp::StartTls(_) => (false, true, smtp::SUBMISSION_PORT),
        Smtp::Plain(_) => (false, false, smtp::SMTP_PORT),
    };
    let (hello, place) = (ClientId::default(), (host, url.port().unwrap_or(default_port)));
    let tls = (tls_at_once || starttls).then(|| TlsParameters::new(host.to_owned())).transpose()?;
    let at_once = tls.clone().filter(|_| tls_at_once);
    let mut server = AsyncSmtpConnection::connect_tokio1(place, Some(GREETING), &hello, at_once, None).await?;
    if let Some(tls) = tls.filter(|_| starttls) {
        server.starttls(tls, &hello).await?;
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    if let Some(password) = url.password() {
        let login = Credentials::new(decoded(url.username()), decoded(password));
        server.auth(DEFAULT_MECHANISMS, &login).await?;
    }
    let mut named = server.command(Mail::new(Some(from.clone()), Vec::new())).await;
    if named.is_ok() {
        named = server.command(Rcpt::new(to.clone(), Vec::new())).await;
    }
    let trip = match named {
        Ok(_) => Trip::Through,
        Err(why) if why.status().is_some() => Trip::NotTo(Refused::from(&why).why),
        Err(why) => return Err(why),
    };
    let _ = server.command(Rset).await; // the answer is known already
    let _ = server.quit().await;
    Ok(trip)
}
