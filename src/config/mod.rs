//! The settings. Each has one field, one sentence and one environment variable. The doc comments are the help.

mod check;
mod settings;
mod smtp;
mod storage;
mod value;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use lettre::message::Mailbox;

use crate::db::DatabaseUrl;
use crate::locale::Locale;
use crate::outside::{FooterLink, WebUrl};
use crate::served::Served;
use crate::urls::{GateDomain, PublicUrl};

pub use settings::{Delivery, Settings, TlsFiles};
pub use smtp::Smtp;
use storage::StorageConfig;
pub use storage::{SecretSource, Storage};

/// The groups of `serve --help`, in the order of the help.
const ADDRESS: &str = "Address";
const DATABASE: &str = "Database and secret";
const MAIL: &str = "Mail";
const LOOK: &str = "Look";
const ACCOUNTS: &str = "Accounts";
const LIMITS: &str = "Limits";
const LOG: &str = "Log";

/// Everything that an operator can choose, as it was typed. [`Settings::parse`] makes the settings of a server from it, and
/// [`Config::storage`] those that other commands need. The fields are private, except those that a command may read without
/// a check: no other setting can make them unsafe.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Address and port to listen on.
    #[arg(long, env = "LATCHKEY_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:3000", value_parser = value::socket, global = true, help_heading = ADDRESS)]
    listen: SocketAddr,

    /// The address that users type, such as https://accounts.example.com; links in emails begin with it.
    /// Default: http://localhost and the port of LISTEN; must be given when LISTEN is not on loopback, and be https
    /// when it is not on loopback itself.
    #[arg(long, env = "LATCHKEY_PUBLIC_URL", value_name = "URL", global = true, help_heading = ADDRESS)]
    public_url: Option<PublicUrl>,

    /// A domain such as example.com that PUBLIC_URL and applications share: a reverse proxy in front of one may ask who is
    /// there (`latchkey app add --host`). Browsers then have a second, narrow cookie for all hosts of the domain.
    #[arg(long, env = "LATCHKEY_GATE_DOMAIN", value_name = "DOMAIN", global = true, help_heading = ADDRESS)]
    gate_domain: Option<GateDomain>,

    /// "on" allows a PUBLIC_URL without TLS on a private network (such as http://192.168.1.20:3000), and a catcher of mail
    /// without TLS there (smtp://mailpit:1025). For trying out only: an attacker on that network can read passwords. A
    /// banner on every page says so.
    #[arg(long, env = "LATCHKEY_INSECURE_LAN", value_name = "ON|OFF", default_value = "off", default_missing_value = "on", num_args = 0..=1, require_equals = true, global = true, help_heading = ADDRESS)]
    insecure_lan: Switch,

    /// The certificate, with its chain, for TLS without a proxy: a PEM file, read again when it changes.
    #[arg(long, env = "LATCHKEY_TLS_CERT", value_name = "FILE", global = true, help_heading = ADDRESS)]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key, a PEM file.
    #[arg(long, env = "LATCHKEY_TLS_KEY", value_name = "FILE", global = true, help_heading = ADDRESS)]
    tls_key: Option<PathBuf>,

    /// Another address and port, such as 0.0.0.0:80, where plain HTTP is sent on to PUBLIC_URL; with TLS_CERT.
    #[arg(long, env = "LATCHKEY_REDIRECT_LISTEN", value_name = "ADDR", value_parser = value::socket, global = true, help_heading = ADDRESS)]
    redirect_listen: Option<SocketAddr>,

    /// "on" tells browsers to use https for every subdomain of PUBLIC_URL's host too (HSTS includeSubDomains), for two
    /// years; refused unless PUBLIC_URL begins with https.
    #[arg(long, env = "LATCHKEY_HSTS_SUBDOMAINS", value_name = "ON|OFF", default_value = "off", global = true, help_heading = ADDRESS)]
    hsts_subdomains: Switch,

    /// Another address and port, such as 127.0.0.1:9464, where Prometheus reads /metrics. There is no password, and
    /// an attacker could find out from the numbers who has an account: keep it private.
    #[arg(long, env = "LATCHKEY_METRICS_LISTEN", value_name = "ADDR", value_parser = value::socket, global = true, help_heading = ADDRESS)]
    metrics_listen: Option<SocketAddr>,

    /// How long everything is still served after SIGTERM, in seconds, while /readyz answers 503: a little longer than load
    /// balancers need to see it. Default: 5 with PostgreSQL, 0 with SQLite, where no other machine could take over.
    #[arg(long, env = "LATCHKEY_DRAIN_SECONDS", value_name = "N", value_parser = clap::value_parser!(u32).range(0..=300), global = true, help_heading = ADDRESS)]
    drain_seconds: Option<u32>,

    #[command(flatten)]
    storage: StorageConfig,

    /// The mail server: smtps://USER:PASSWORD@HOST, or smtp://… for STARTTLS.
    /// Without it emails are kept in DATA_DIR/mailbox and shown at /dev/mailbox, for which LISTEN and PUBLIC_URL
    /// must be on loopback.
    #[arg(long, env = "LATCHKEY_SMTP_URL", value_name = "URL", hide_env_values = true, global = true, help_heading = MAIL)]
    smtp_url: Option<Hidden>,

    /// The sender of emails, such as "Acme <no-reply@example.com>"; must be given with SMTP_URL.
    #[arg(long, env = "LATCHKEY_MAIL_FROM", value_name = "MAILBOX", value_parser = value::mailbox, global = true, help_heading = MAIL)]
    mail_from: Option<Mailbox>,

    /// The mailbox for answers to emails, if you read them, such as help@example.com.
    #[arg(long, env = "LATCHKEY_MAIL_REPLY_TO", value_name = "MAILBOX", value_parser = value::mailbox, global = true, help_heading = MAIL)]
    mail_reply_to: Option<Mailbox>,

    /// The site's name, in pages and emails.
    #[arg(long, env = "LATCHKEY_SITE_NAME", value_name = "NAME", default_value = "Latchkey", value_parser = value::site_name, global = true, help_heading = LOOK)]
    pub site_name: String,

    /// The language, such as zh-CN, for browsers that ask for none that we have.
    #[arg(long, env = "LATCHKEY_LANGUAGE", value_name = "TAG", default_value = "en", value_parser = value::language, global = true, help_heading = LOOK)]
    pub language: Locale,

    /// The site's logo, an SVG, PNG or WebP file of 64 KiB at most; beside its name, and as its icon.
    #[arg(long, env = "LATCHKEY_LOGO", value_name = "FILE", global = true, help_heading = LOOK)]
    logo: Option<PathBuf>,

    /// The site's colours on light screens, such as "accent=#0b6e4f,bg=#ffffff".
    /// Names: bg, surface, text, muted, accent, on-accent. Text needs a contrast of 4.5:1.
    #[arg(long, env = "LATCHKEY_THEME_LIGHT", value_name = "COLOURS", global = true, help_heading = LOOK)]
    theme_light: Option<String>,

    /// The site's colours on dark screens.
    #[arg(long, env = "LATCHKEY_THEME_DARK", value_name = "COLOURS", global = true, help_heading = LOOK)]
    theme_dark: Option<String>,

    /// Where home is, such as https://www.example.com: the logo leads there, and so does a log-in that no other page asked
    /// for. Default: the site's own first page, and the profile.
    #[arg(long, env = "LATCHKEY_HOME_URL", value_name = "URL", global = true, help_heading = LOOK)]
    home_url: Option<WebUrl>,

    /// Links at the foot of every page, such as "Terms=https://example.com/terms,Help=mailto:help@example.com".
    /// A comma in an address is written %2C.
    #[arg(long, env = "LATCHKEY_LINKS", value_name = "NAME=URL", value_delimiter = ',', global = true, help_heading = LOOK)]
    links: Vec<FooterLink>,

    /// Who may create an account.
    #[arg(long, env = "LATCHKEY_SIGNUP", value_name = "MODE", default_value = "verify", global = true, help_heading = ACCOUNTS)]
    signup: Signup,

    /// The smallest number of characters in a new password; NIST asks for 15 where there is no second factor.
    #[arg(long, env = "LATCHKEY_PASSWORD_MIN_LENGTH", value_name = "N", default_value = "8", value_parser = clap::value_parser!(u32).range(8..=64), global = true, help_heading = ACCOUNTS)]
    password_min_length: u32,

    /// What computes password hashes. "reference" is slower, and for a processor on which the fast engine is wrong or ends the
    /// server. The hashes are the same.
    #[arg(long, env = "LATCHKEY_HASH_ENGINE", value_name = "ENGINE", default_value = "fast", global = true, help_heading = ACCOUNTS)]
    hash_engine: HashEngine,

    /// Memory for one password hash (argon2id), in KiB.
    #[arg(long, env = "LATCHKEY_HASH_MEMORY", value_name = "KIB", default_value = "19456", value_parser = clap::value_parser!(u32).range(19_456..=1_048_576), global = true, help_heading = ACCOUNTS)]
    hash_memory: u32,

    /// Passes over that memory for one password hash.
    #[arg(long, env = "LATCHKEY_HASH_PASSES", value_name = "N", default_value = "2", value_parser = clap::value_parser!(u32).range(2..=64), global = true, help_heading = ACCOUNTS)]
    hash_passes: u32,

    /// How long a session lasts, in hours, however much it is used. It ends after two hours without use, too.
    #[arg(long, env = "LATCHKEY_SESSION_HOURS", value_name = "N", default_value = "24", value_parser = clap::value_parser!(u32).range(1..=720), global = true, help_heading = ACCOUNTS)]
    session_hours: u32,

    /// How long a session with "keep me logged in" lasts, in days, however much it is used. NIST allows 30 where there
    /// is no second factor.
    #[arg(long, env = "LATCHKEY_REMEMBER_DAYS", value_name = "N", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=30), global = true, help_heading = ACCOUNTS)]
    remember_days: u32,

    /// How long a session with "keep me logged in" lasts without use, in days.
    #[arg(long, env = "LATCHKEY_REMEMBER_IDLE_DAYS", value_name = "N", default_value = "14", value_parser = clap::value_parser!(u32).range(1..=30), global = true, help_heading = ACCOUNTS)]
    pub remember_idle_days: u32,

    /// How long an API token lasts, in minutes.
    #[arg(long, env = "LATCHKEY_TOKEN_MINUTES", value_name = "N", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=1440), global = true, help_heading = ACCOUNTS)]
    token_minutes: u32,

    /// Addresses and networks of reverse proxies whose X-Forwarded-For is believed, such as 127.0.0.1 or 10.0.0.0/8;
    /// commas between them.
    #[arg(long, env = "LATCHKEY_TRUSTED_PROXIES", value_name = "NETWORKS", value_delimiter = ',', value_parser = value::network, global = true, help_heading = ADDRESS)]
    trusted_proxies: Vec<IpNet>,

    /// Limits on how many attempts and connections each client may have; "off" is for load tests and
    /// refused unless LISTEN and PUBLIC_URL are on loopback.
    #[arg(long, env = "LATCHKEY_RATE_LIMITS", value_name = "ON|OFF", default_value = "on", global = true, help_heading = LIMITS)]
    rate_limits: Switch,

    /// How long to keep the events of accounts (log-ins, failed log-ins, resets), in days.
    #[arg(long, env = "LATCHKEY_EVENT_DAYS", value_name = "N", default_value = "90", value_parser = clap::value_parser!(u32).range(1..=3650), global = true, help_heading = LOG)]
    event_days: u32,

    /// What to log: error, warn, info, debug, trace, or per module as in "info,latchkey::mail=debug".
    #[arg(long, env = "LATCHKEY_LOG", value_name = "FILTER", default_value = "info", value_parser = value::log, global = true, help_heading = LOG)]
    pub log: String,

    /// How log lines look.
    #[arg(long, env = "LATCHKEY_LOG_FORMAT", value_name = "FORMAT", default_value = "text", global = true, help_heading = LOG)]
    pub log_format: LogFormat,
}

/// Who may create an account.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signup {
    /// Visitors who can read email at the address that they give.
    Verify,
    /// All visitors, at once; the address is not checked.
    Open,
    /// No visitor.
    Closed,
}

/// What computes password hashes.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashEngine {
    /// The crate argon2-rust, with code for AVX-512, AVX2 and NEON; compared with the reference at each start.
    Fast,
    /// The crate argon2 of RustCrypto.
    Reference,
}

/// How log lines look.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines of text, to be read.
    Text,
    /// One JSON object per line, for programs.
    Json,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    On,
    Off,
}

/// A URL that may hold a password. It never prints.
#[derive(Clone)]
struct Hidden(String);

impl FromStr for Hidden {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(…)")
    }
}

impl Config {
    /// Takes the address that the server had when it last started, for a command in a shell without the server's settings,
    /// unless the address is given. Returns the address, or `None` if it is still not known.
    pub fn recall_public_url(&mut self) -> Option<&PublicUrl> {
        if self.public_url.is_none() {
            let served = Served::read(&self.storage.data_dir);
            self.public_url = served.and_then(|served| served.public_url.parse().ok());
        }
        self.public_url.as_ref()
    }

    /// Returns where another program on this machine reaches the server.
    pub fn reached_at(&self) -> SocketAddr {
        let localhost = match self.listen {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let ip = if self.listen.ip().is_unspecified() { localhost } else { self.listen.ip() };
        SocketAddr::new(ip, self.listen.port())
    }

    /// Takes the domain that the server had when it last started, unless it is given. Returns it, or `None` if there is none.
    pub fn recall_gate_domain(&mut self) -> Option<&GateDomain> {
        if self.gate_domain.is_none() {
            let served = Served::read(&self.storage.data_dir);
            self.gate_domain = served.and_then(|served| served.gate_domain?.parse().ok());
        }
        self.gate_domain.as_ref()
    }

    /// Returns the checked settings of the database and the secret, for commands that do not serve.
    ///
    /// # Errors
    /// One line that names the setting.
    pub fn storage(&self) -> anyhow::Result<Storage> {
        Storage::parse(self.storage.clone())
    }

    /// Returns the checked address of another database than the one of the settings, or of that one.
    ///
    /// # Errors
    /// One line that names the setting.
    pub fn database(&self, another: Option<&str>) -> anyhow::Result<DatabaseUrl> {
        self.storage.database(another)
    }

    /// Returns the folder for the database, the secret and kept emails.
    pub fn data_dir(&self) -> &Path {
        &self.storage.data_dir
    }

    /// Returns the folder of the development mailbox, or `None` if there is a mail server.
    pub fn dev_mailbox(&self) -> Option<PathBuf> {
        self.smtp_url.is_none().then(|| self.storage.mailbox())
    }
}
