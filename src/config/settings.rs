//! The settings after all checks: what the program works with.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::bail;
use ipnet::IpNet;
use lettre::message::Mailbox;
use time::Duration;

use super::{Config, HashEngine, LogFormat, Signup, Smtp, Storage, Switch};
use crate::locale::Locale;
use crate::outside::{FooterLink, WebUrl};
use crate::urls::{GateDomain, PublicUrl};

/// How long a server on PostgreSQL is served after SIGTERM, in seconds, unless the operator says otherwise.
const DRAIN: u32 = 5;

/// The settings of a server. Its only maker is [`Settings::parse`], so unsafe combinations cannot be used.
#[expect(missing_docs, reason = "the fields are those of `Config`, which describes them")]
#[derive(Clone, Debug)]
pub struct Settings {
    pub storage: Storage,
    pub listen: SocketAddr,
    pub public_url: PublicUrl,
    has_default_url: bool,
    pub gate_domain: Option<GateDomain>,
    pub insecure_lan: bool,
    pub tls: Option<TlsFiles>,
    pub redirect_listen: Option<SocketAddr>,
    pub hsts_subdomains: bool,
    pub metrics_listen: Option<SocketAddr>,
    pub trusted_proxies: Vec<IpNet>,
    pub drain: std::time::Duration,
    pub delivery: Delivery,
    pub mail_from: Mailbox,
    pub mail_reply_to: Option<Mailbox>,
    pub site_name: String,
    pub language: Locale,
    pub logo: Option<PathBuf>,
    pub theme_light: Option<String>,
    pub theme_dark: Option<String>,
    pub home_url: Option<WebUrl>,
    pub links: Vec<FooterLink>,
    pub signup: Signup,
    pub password_min_length: u32,
    pub hash_engine: HashEngine,
    pub hash_memory: u32,
    pub hash_passes: u32,
    pub session_lifetime: Duration,
    pub remember_lifetime: Duration,
    pub remember_idle: Duration,
    pub token_lifetime: Duration,
    pub rate_limits: bool,
    pub event_retention: Duration,
    pub log_format: LogFormat,
}

/// The files for TLS without a proxy.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, with its chain.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

/// Where emails go.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// To a mail server.
    Smtp(Smtp),
    /// Into the folder of the development mailbox.
    Folder(PathBuf),
}

impl Settings {
    /// Turns what the operator typed into settings, and refuses unsafe combinations.
    ///
    /// # Errors
    /// One line that names the setting. It repeats no password.
    pub fn parse(config: Config) -> anyhow::Result<Self> {
        // Every field is named here, so a setting that is not used does not compile.
        let Config {
            listen,
            public_url,
            gate_domain,
            insecure_lan,
            tls_cert,
            tls_key,
            redirect_listen,
            hsts_subdomains,
            metrics_listen,
            drain_seconds,
            storage,
            smtp_url,
            mail_from,
            mail_reply_to,
            site_name,
            language,
            logo,
            theme_light,
            theme_dark,
            home_url,
            links,
            signup,
            password_min_length,
            hash_engine,
            hash_memory,
            hash_passes,
            session_hours,
            remember_days,
            remember_idle_days,
            token_minutes,
            trusted_proxies,
            rate_limits,
            event_days,
            log: _, // the command line starts the log before it parses the settings
            log_format,
        } = config;

        let insecure_lan = insecure_lan == Switch::On;
        if public_url.is_none() && !listen.ip().is_loopback() {
            bail!("LATCHKEY_PUBLIC_URL must be given, because LATCHKEY_LISTEN is not on loopback");
        }
        let tls = match (tls_cert, tls_key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            _ => bail!("LATCHKEY_TLS_CERT and LATCHKEY_TLS_KEY need each other: give both or neither"),
        };
        let has_default_url = public_url.is_none();
        let public_url = public_url.unwrap_or_else(|| default_url(listen, tls.is_some()));
        let delivery = match smtp_url {
            Some(url) => Delivery::Smtp(Smtp::parse(&url.0, insecure_lan)?),
            None => Delivery::Folder(storage.mailbox()),
        };
        let mail_from = match (mail_from, &delivery) {
            (Some(from), _) => from,
            (None, Delivery::Smtp(_)) => bail!("LATCHKEY_MAIL_FROM must be given with LATCHKEY_SMTP_URL"),
            (None, Delivery::Folder(_)) => {
                Mailbox::new(Some(site_name.clone()), format!("no-reply@{}", public_url.host()).parse()?)
            }
        };
        let days = |days: u32| Duration::days(days.into());
        let storage = Storage::parse(storage)?;
        let drain = drain_seconds.unwrap_or(if storage.database.is_sqlite() { 0 } else { DRAIN });
        let settings = Self {
            storage,
            listen,
            public_url,
            has_default_url,
            gate_domain,
            insecure_lan,
            tls,
            redirect_listen,
            hsts_subdomains: hsts_subdomains == Switch::On,
            metrics_listen,
            trusted_proxies,
            drain: std::time::Duration::from_secs(drain.into()),
            delivery,
            mail_from,
            mail_reply_to,
            site_name,
            language,
            logo,
            theme_light,
            theme_dark,
            home_url,
            links,
            signup,
            password_min_length,
            hash_engine,
            hash_memory,
            hash_passes,
            session_lifetime: Duration::hours(session_hours.into()),
            remember_lifetime: days(remember_days),
            remember_idle: days(remember_idle_days),
            token_lifetime: Duration::minutes(token_minutes.into()),
            rate_limits: rate_limits == Switch::On,
            event_retention: days(event_days),
            log_format,
        };
        settings.check()?;
        Ok(settings)
    }

    /// Takes the address that the listener is bound to. The system has chosen its port where LISTEN says 0, and the
    /// default PUBLIC_URL has the same port.
    #[must_use]
    pub fn bound_to(mut self, listen: SocketAddr) -> Self {
        if self.has_default_url {
            self.public_url = default_url(listen, self.tls.is_some());
        }
        self.listen = listen;
        self
    }

    /// Returns the folder of the development mailbox, or `None` if there is a mail server.
    pub fn dev_mailbox(&self) -> Option<&Path> {
        match &self.delivery {
            Delivery::Smtp(_) => None,
            Delivery::Folder(folder) => Some(folder),
        }
    }
}

fn default_url(listen: SocketAddr, has_tls: bool) -> PublicUrl {
    let scheme = if has_tls { "https" } else { "http" };
    format!("{scheme}://localhost:{}", listen.port()).parse().expect("an origin")
}
