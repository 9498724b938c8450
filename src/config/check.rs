//! Unsafe combinations of settings, which no single setting can see.

use anyhow::bail;
use ipnet::IpNet;

use super::{Delivery, Settings};

impl Settings {
    /// Refuses unsafe combinations of settings.
    ///
    /// # Errors
    /// One line that names the setting.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let Self { public_url, listen, .. } = self;
        let has_mail_server = matches!(self.delivery, Delivery::Smtp(_));
        if self.tls.is_some() && !public_url.is_https() {
            bail!(
                "LATCHKEY_PUBLIC_URL must begin with https://, because LATCHKEY_TLS_CERT is given; it is {public_url}"
            );
        }
        if self.hsts_subdomains && !public_url.is_https() {
            bail!(
                "LATCHKEY_HSTS_SUBDOMAINS=on is refused, because LATCHKEY_PUBLIC_URL is {public_url}: it must begin with https://"
            );
        }
        if let Some(domain) = self.gate_domain.as_ref().filter(|domain| !domain.has(public_url.host())) {
            bail!(
                "LATCHKEY_GATE_DOMAIN={domain} is refused, because LATCHKEY_PUBLIC_URL is {public_url}: its host must be that domain or below it, or no browser takes the cookie"
            );
        }
        if self.redirect_listen.is_some() && self.tls.is_none() {
            bail!("LATCHKEY_TLS_CERT must be given with LATCHKEY_REDIRECT_LISTEN");
        }
        if !public_url.is_loopback() && !has_mail_server {
            bail!(
                "LATCHKEY_SMTP_URL must be given, because LATCHKEY_PUBLIC_URL is {public_url}: users there cannot read a mailbox in a folder"
            );
        }
        self.check_encryption()?;
        if !listen.ip().is_loopback() && !has_mail_server {
            bail!(
                "LATCHKEY_SMTP_URL must be given, because LATCHKEY_LISTEN is not on loopback: a client that reaches it could read every email at /dev/mailbox"
            );
        }
        if !self.rate_limits && !public_url.is_loopback() {
            bail!("LATCHKEY_RATE_LIMITS=off is refused, because LATCHKEY_PUBLIC_URL is {public_url}");
        }
        if !self.rate_limits && !listen.ip().is_loopback() {
            bail!(
                "LATCHKEY_RATE_LIMITS=off is refused, because LATCHKEY_LISTEN={listen} is not on loopback: a client that reaches it could guess passwords as fast as it likes"
            );
        }
        if let Some(net) = self.trusted_proxies.iter().find(|net| is_too_wide(net)) {
            bail!(
                "LATCHKEY_TRUSTED_PROXIES: {net} is too wide, because every client in it could make up its own address; name the networks of your proxies, such as 10.0.0.0/8"
            );
        }
        Ok(())
    }

    /// Refuses plain HTTP outside of loopback, unless INSECURE_LAN allows it on a private network.
    ///
    /// An operator who leaves INSECURE_LAN on loses every account to an attacker on the same network. Only TLS hides
    /// passwords and cookies from the attacker, and only TLS proves to a browser that it talks to this site. On the same
    /// Wi-Fi the attacker reads a session cookie and is that user, or answers in place of the site (ARP spoofing) and
    /// collects passwords. The limits count no attempt, and the log has no line of it. Mail to a catcher shows every reset
    /// link in the same way. So a host that the world can reach is refused, and nothing else depends on this setting: the
    /// checks of host and origin, the limits, the development mailbox and the flags of cookies stay as they are.
    fn check_encryption(&self) -> anyhow::Result<()> {
        let Self { public_url, insecure_lan, .. } = self;
        if *insecure_lan && public_url.is_https() {
            bail!(
                "LATCHKEY_INSECURE_LAN=on is refused, because LATCHKEY_PUBLIC_URL is {public_url}, which is encrypted; take LATCHKEY_INSECURE_LAN out"
            );
        }
        if public_url.is_https() || public_url.is_loopback() || *insecure_lan && public_url.is_private() {
            return Ok(());
        }
        if *insecure_lan {
            bail!(
                "LATCHKEY_INSECURE_LAN does not cover {public_url}, which is no address or name of a private network; \
                 LATCHKEY_PUBLIC_URL must begin with https:// there"
            );
        }
        let try_out = if public_url.is_private() { "; LATCHKEY_INSECURE_LAN=on to try it out" } else { "" };
        bail!(
            "LATCHKEY_PUBLIC_URL must begin with https://, because an attacker on the way to {public_url} could read passwords{try_out}"
        );
    }
}

/// Returns whether a network is wider than any that an operator's proxies can have for themselves: 10.0.0.0/8 and fc00::/7
/// are the widest private ones. A client in a trusted network can write any address into `X-Forwarded-For`, and every
/// limit counts by that address.
fn is_too_wide(net: &IpNet) -> bool {
    net.prefix_len() < if net.addr().is_ipv4() { 8 } else { 7 }
}
