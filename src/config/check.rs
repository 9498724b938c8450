//! What no single setting can see: combinations that are unsafe, or lack something.

use ipnet::IpNet;
use url::Url;

use super::{Config, DatabaseTls, Switch};
use crate::db;
use crate::urls::PublicUrl;

impl Config {
    /// Refuses unsafe combinations of settings, which no single field can see.
    ///
    /// # Errors
    /// One line that names the setting.
    pub fn check(&self) -> Result<(), String> {
        if self.public_url.is_none() && !self.listen.ip().is_loopback() {
            return Err("LATCHKEY_PUBLIC_URL must be given, because LATCHKEY_LISTEN is not on loopback".into());
        }
        let public_url = self.public_url();
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err("LATCHKEY_TLS_CERT and LATCHKEY_TLS_KEY need each other: give both or neither".into());
        }
        if self.tls_cert.is_some() && !public_url.is_https() {
            return Err(format!(
                "LATCHKEY_PUBLIC_URL must begin with https://, because LATCHKEY_TLS_CERT is given; it is {public_url}"
            ));
        }
        if self.hsts_subdomains == Switch::On && !public_url.is_https() {
            return Err(format!(
                "LATCHKEY_HSTS_SUBDOMAINS=on is refused, because LATCHKEY_PUBLIC_URL is {public_url}: it must begin with https://"
            ));
        }
        if self.redirect_listen.is_some() && self.tls_cert.is_none() {
            return Err("LATCHKEY_TLS_CERT must be given with LATCHKEY_REDIRECT_LISTEN".into());
        }
        if !public_url.is_loopback() && self.smtp()?.is_none() {
            return Err(format!(
                "LATCHKEY_SMTP_URL must be given, because LATCHKEY_PUBLIC_URL is {public_url}: people there cannot read a mailbox in a folder"
            ));
        }
        self.check_encryption(&public_url)?;
        if !self.listen.ip().is_loopback() && self.smtp()?.is_none() {
            return Err(
                "LATCHKEY_SMTP_URL must be given, because LATCHKEY_LISTEN is not on loopback: anybody who reaches it could read every email at /dev/mailbox"
                    .into(),
            );
        }
        if self.smtp()?.is_some() && self.mail_from.is_none() {
            return Err("LATCHKEY_MAIL_FROM must be given with LATCHKEY_SMTP_URL".into());
        }
        if self.rate_limits == Switch::Off && !public_url.is_loopback() {
            return Err(format!("LATCHKEY_RATE_LIMITS=off is refused, because LATCHKEY_PUBLIC_URL is {public_url}"));
        }
        if self.rate_limits == Switch::Off && !self.listen.ip().is_loopback() {
            return Err(format!(
                "LATCHKEY_RATE_LIMITS=off is refused, because LATCHKEY_LISTEN={} is not on loopback: anybody who reaches it could guess passwords as fast as they like",
                self.listen
            ));
        }
        if let Some(net) = self.trusted_proxies.iter().find(|net| is_too_wide(net)) {
            return Err(format!(
                "LATCHKEY_TRUSTED_PROXIES: {net} is too wide, because every client in it could make up its own address; name the networks of your proxies, such as 10.0.0.0/8"
            ));
        }
        self.check_database()
    }

    /// Refuses plain HTTP outside of loopback, unless INSECURE_LAN allows it on a private network.
    ///
    /// An operator who leaves INSECURE_LAN on loses every account to an attacker on the same network. Only TLS hides
    /// passwords and cookies from the attacker, and only TLS proves to a browser that it talks to this site. On the same
    /// Wi-Fi the attacker reads a session cookie and is that user, or answers in place of the site (ARP spoofing) and
    /// collects passwords. The limits count no attempt, and the log has no line of it. Mail to a catcher shows every reset
    /// link in the same way. So a host that the world can reach is refused, and nothing else depends on this setting: the
    /// checks of host and origin, the limits, the development mailbox and the flags of cookies stay as they are.
    fn check_encryption(&self, public_url: &PublicUrl) -> Result<(), String> {
        if self.is_insecure_lan() && public_url.is_https() {
            return Err(format!(
                "LATCHKEY_INSECURE_LAN=on is refused, because LATCHKEY_PUBLIC_URL is {public_url}, which is encrypted; take LATCHKEY_INSECURE_LAN out"
            ));
        }
        if public_url.is_https() || public_url.is_loopback() || self.is_insecure_lan() && public_url.is_private() {
            return Ok(());
        }
        if self.is_insecure_lan() {
            return Err(format!(
                "LATCHKEY_INSECURE_LAN does not cover {public_url}, which is no address or name of a private network; \
                 LATCHKEY_PUBLIC_URL must begin with https:// there"
            ));
        }
        let try_out = if public_url.is_private() { "; LATCHKEY_INSECURE_LAN=on to try it out" } else { "" };
        Err(format!(
            "LATCHKEY_PUBLIC_URL must begin with https://, because anybody on the way to {public_url} could read passwords{try_out}"
        ))
    }

    /// Refuses settings of the database and the secret that will not do. Commands that serve nobody check no more.
    ///
    /// # Errors
    /// One line that names the setting.
    pub fn check_database(&self) -> Result<(), String> {
        let url = self.database_url();
        if !url.starts_with("sqlite:") && !url.starts_with("postgres:") && !url.starts_with("postgresql:") {
            return Err("LATCHKEY_DATABASE_URL must begin with sqlite: or postgres:".into());
        }
        if Url::parse(&url).is_err() {
            // Not repeated, and not left to the database library, which would repeat it: it may hold a password.
            return Err(
                "LATCHKEY_DATABASE_URL is not a URL; characters such as # and @ in a password are written %23, %40"
                    .into(),
            );
        }
        if let Some(file) = url.strip_prefix("sqlite:") {
            // In memory, each connection would have a database of its own.
            if file.trim_start_matches("//").is_empty() || file.contains(":memory:") || file.contains('?') {
                return Err(
                    "LATCHKEY_DATABASE_URL must be sqlite:// and the name of a file, with nothing behind it".into()
                );
            }
        }
        if self.database_tls == DatabaseTls::Verify && url.starts_with("postgres") && db::is_unverified(&url) {
            return Err(
                "LATCHKEY_DATABASE_URL must end with ?sslmode=verify-full (and &sslrootcert=FILE for an authority of your own), because the database is not on loopback: anybody on the way to it could read and change accounts; LATCHKEY_DATABASE_TLS=unverified if you trust that network"
                    .into(),
            );
        }
        if url.starts_with("postgres") && self.secret.is_none() && self.secret_file.is_none() {
            return Err("LATCHKEY_SECRET or LATCHKEY_SECRET_FILE must be given with PostgreSQL".into());
        }
        if self.secret.is_some() && self.secret_file.is_some() {
            return Err("LATCHKEY_SECRET and LATCHKEY_SECRET_FILE are both given; keep one".into());
        }
        Ok(())
    }
}

/// Whether a network is wider than any that proxies have for themselves: 10.0.0.0/8 and fc00::/7 are the widest private
/// ones. A client in a trusted network says in `X-Forwarded-For` what it likes, and every limit counts by that.
fn is_too_wide(net: &IpNet) -> bool {
    net.prefix_len() < if net.addr().is_ipv4() { 8 } else { 7 }
}
