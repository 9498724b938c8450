//! The mail server's address.

use std::fmt;
use std::net::Ipv4Addr;

use anyhow::bail;
use url::Url;

use crate::lan;

/// The mail server, and how to connect to it.
#[derive(Clone)]
pub enum Smtp {
    /// TLS from the first byte.
    Tls(Url),
    /// STARTTLS, and no mail without it.
    StartTls(Url),
    /// No TLS: a server on this machine, or with INSECURE_LAN a catcher of mail on the private network.
    Plain(Url),
}

impl Smtp {
    /// Reads `smtps://…` or `smtp://…`.
    ///
    /// # Errors
    /// One line that names the setting and does not repeat its value, which may hold a password.
    pub(super) fn parse(text: &str, insecure_lan: bool) -> anyhow::Result<Self> {
        let url = Url::parse(text).map_err(|why| anyhow::anyhow!("LATCHKEY_SMTP_URL is not a URL: {why}"))?;
        let Some(host) = url.host_str() else { bail!("LATCHKEY_SMTP_URL has no host") };
        if host.starts_with('[') {
            // lettre would ask the DNS for a name with the brackets.
            bail!("LATCHKEY_SMTP_URL: an IPv6 address does not work there; write the mail server's name");
        }
        let loopback = host == "localhost" || host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback());
        let asks_for_tls = asks_for_tls(&url)?;
        match url.scheme() {
            "smtps" => Ok(Self::Tls(url)),
            "smtp" if asks_for_tls => Ok(Self::StartTls(url)),
            "smtp" if loopback || insecure_lan && is_catcher(&url) => Ok(Self::Plain(url)),
            "smtp" => Ok(Self::StartTls(url)),
            _ => bail!("LATCHKEY_SMTP_URL must begin with smtp:// or smtps://"),
        }
    }

    /// Returns the address, which may hold a password.
    pub fn url(&self) -> &Url {
        match self {
            Self::Tls(url) | Self::StartTls(url) | Self::Plain(url) => url,
        }
    }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Smtp(…)")
    }
}

/// Returns whether the server may be a catcher of mail for trying out, such as Mailpit. It must be on a private network, and
/// its URL must have no password, which would cross the network in plain text.
fn is_catcher(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    url.username().is_empty() && url.password().is_none() && lan::is_private(host)
}

/// Returns whether the URL has `?tls=required`, the only option. Every other option is refused, because an operator would
/// believe that it has an effect: with a misspelt `tls=required`, an attacker on the way could read every email.
fn asks_for_tls(url: &Url) -> anyhow::Result<bool> {
    let mut asks = false;
    for (name, value) in url.query_pairs() {
        match (&*name, &*value) {
            ("tls", "required") => asks = true,
            ("tls", "none" | "opportunistic") => {
                bail!(
                    "LATCHKEY_SMTP_URL: tls={value} is refused, because an attacker on the way to the mail server could read every mailed link; \
                     leave it out: smtp:// is STARTTLS then, and plain text on loopback"
                );
            }
            _ => bail!("LATCHKEY_SMTP_URL has an option that is not known; the only option is ?tls=required"),
        }
    }
    Ok(asks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_leaves_in_plain_text_only_for_this_machine_or_a_catcher_on_an_insecure_lan() {
        let plain = |url, insecure_lan| matches!(Smtp::parse(url, insecure_lan), Ok(Smtp::Plain(_)));
        for url in ["smtp://localhost:2525", "smtp://127.0.0.1", "smtp://sam:pw@localhost"] {
            assert!(plain(url, false) && plain(url, true), "{url}");
        }
        for url in ["smtp://mailpit:1025", "smtp://192.168.1.20:1025", "smtp://mail.lan"] {
            assert!(!plain(url, false) && plain(url, true), "{url}");
        }
        for url in [
            "smtp://mail.example.com",
            "smtp://8.8.8.8:25",
            "smtp://mailpit:1025?tls=required",
            "smtp://sam:pw@mailpit:1025",
            "smtp://sam@mailpit:1025",
            "smtp://:pw@mailpit:1025",
            "smtps://mailpit",
            "smtp://localhost?tls=required",
        ] {
            assert!(!plain(url, false) && !plain(url, true), "{url}");
        }
    }
}
