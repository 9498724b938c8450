//! The mail server's address.

use std::net::IpAddr;

use url::Url;

/// How letters leave the house.
#[derive(Clone)]
pub enum Smtp {
    /// TLS from the first byte.
    Tls(Url),
    /// STARTTLS, and no mail without it.
    StartTls(Url),
    /// No TLS: a server on this machine.
    Plain(Url),
}

impl Smtp {
    /// Reads `smtps://…` or `smtp://…`.
    ///
    /// # Errors
    /// One line that names the setting and does not repeat its value, which may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|why| format!("LATCHKEY_SMTP_URL is not a URL: {why}"))?;
        let Some(host) = url.host_str() else { return Err("LATCHKEY_SMTP_URL has no host".into()) };
        let host = host.trim_matches(['[', ']']);
        let loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let asks_for_tls = asks_for_tls(&url)?;
        match url.scheme() {
            "smtps" => Ok(Self::Tls(url)),
            "smtp" if !loopback || asks_for_tls => Ok(Self::StartTls(url)),
            "smtp" => Ok(Self::Plain(url)),
            _ => Err("LATCHKEY_SMTP_URL must begin with smtp:// or smtps://".into()),
        }
    }

    /// The address, which may hold a password.
    pub fn url(&self) -> &Url {
        match self {
            Self::Tls(url) | Self::StartTls(url) | Self::Plain(url) => url,
        }
    }
}

/// Reads `?tls=required`, the only option there is. An option that is not read must not look as if it were: with
/// `tls=none` the operator would believe one thing, and with a misspelt `tls=required` an attacker on the way could read
/// every letter.
fn asks_for_tls(url: &Url) -> Result<bool, String> {
    let mut asks = false;
    for (name, value) in url.query_pairs() {
        match (&*name, &*value) {
            ("tls", "required") => asks = true,
            ("tls", "none" | "opportunistic") => {
                return Err(format!(
                    "LATCHKEY_SMTP_URL: tls={value} is refused, because anybody on the way to the mail server could read every mailed link; \
                     leave it out: smtp:// is STARTTLS then, and plain text on loopback"
                ));
            }
            _ => {
                let only = "LATCHKEY_SMTP_URL has an option that is not known; the only option is ?tls=required";
                return Err(only.into());
            }
        }
    }
    Ok(asks)
}
