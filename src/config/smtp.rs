//! The mail server's address.

use std::net::Ipv4Addr;

use url::Url;

use crate::lan;

/// How letters leave the house.
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
    pub(super) fn parse(text: &str, insecure_lan: bool) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|why| format!("LATCHKEY_SMTP_URL is not a URL: {why}"))?;
        let Some(host) = url.host_str() else { return Err("LATCHKEY_SMTP_URL has no host".into()) };
        if host.starts_with('[') {
            // lettre would look its brackets up in the DNS.
            return Err("LATCHKEY_SMTP_URL: an IPv6 address does not work there; write the mail server's name".into());
        }
        let loopback = host == "localhost" || host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback());
        let asks_for_tls = asks_for_tls(&url)?;
        match url.scheme() {
            "smtps" => Ok(Self::Tls(url)),
            "smtp" if asks_for_tls => Ok(Self::StartTls(url)),
            "smtp" if loopback || insecure_lan && is_catcher(&url) => Ok(Self::Plain(url)),
            "smtp" => Ok(Self::StartTls(url)),
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

/// Returns whether this may be a catcher of mail, for trying out, such as Mailpit: on a private network, and without a
/// password, which would cross it in plain text.
fn is_catcher(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    url.username().is_empty() && url.password().is_none() && lan::is_private(host)
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
