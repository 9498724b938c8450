//! The settings: one field, one sentence and one environment variable each. The doc comments are the help.

mod check;
mod smtp;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use lettre::message::Mailbox;
use url::Url;

use crate::locale::Locale;
use crate::outside::{Link, WebUrl};
use crate::secret::Secret;
use crate::served::Served;
use crate::urls::PublicUrl;

pub use smtp::Smtp;

/// The groups of `serve --help`, in its order.
const ADDRESS: &str = "Address";
const DATABASE: &str = "Database and secret";
const MAIL: &str = "Mail";
const LOOK: &str = "Look";
const ACCOUNTS: &str = "Accounts";
const LIMITS: &str = "Limits";
const LOG: &str = "Log";

/// Everything an operator can choose.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Address and port to listen on.
    #[arg(long, env = "LATCHKEY_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:3000", value_parser = value::socket, global = true, help_heading = ADDRESS)]
    pub listen: SocketAddr,

    /// The address people type, such as https://accounts.example.com; links in emails begin with it.
    /// Default: http://localhost and the port of LISTEN; must be given when LISTEN is not on loopback, and be https
    /// when it is not on loopback itself.
    #[arg(long, env = "LATCHKEY_PUBLIC_URL", value_name = "URL", global = true, help_heading = ADDRESS)]
    public_url: Option<PublicUrl>,

    /// "on" allows a PUBLIC_URL without TLS on a private network (such as http://192.168.1.20:3000), and a catcher of mail
    /// without TLS there (smtp://mailpit:1025). For trying out only: anybody on that network can read passwords. A banner
    /// on every page says so.
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
    pub redirect_listen: Option<SocketAddr>,

    /// "on" tells browsers to use https for every subdomain of PUBLIC_URL's host too (HSTS includeSubDomains), for two
    /// years; refused unless PUBLIC_URL begins with https.
    #[arg(long, env = "LATCHKEY_HSTS_SUBDOMAINS", value_name = "ON|OFF", default_value = "off", global = true, help_heading = ADDRESS)]
    hsts_subdomains: Switch,

    /// Another address and port, such as 127.0.0.1:9464, where Prometheus reads /metrics. There is no password, and
    /// the numbers let strangers find out who has an account: keep it private.
    #[arg(long, env = "LATCHKEY_METRICS_LISTEN", value_name = "ADDR", value_parser = value::socket, global = true, help_heading = ADDRESS)]
    pub metrics_listen: Option<SocketAddr>,

    /// The database: sqlite://FILE or postgres://USER:PASSWORD@HOST/NAME.
    /// Default: sqlite, in latchkey.db in DATA_DIR.
    #[arg(long, env = "LATCHKEY_DATABASE_URL", value_name = "URL", hide_env_values = true, global = true, help_heading = DATABASE)]
    database_url: Option<Hidden>,

    /// Whether a PostgreSQL off loopback must prove who it is (sslmode=verify-full in DATABASE_URL); "unverified" if you
    /// trust the network between.
    #[arg(long, env = "LATCHKEY_DATABASE_TLS", value_name = "MODE", default_value = "verify", global = true, help_heading = DATABASE)]
    database_tls: DatabaseTls,

    /// The folder for the database, the secret and kept emails; made with mode 0700.
    #[arg(long, env = "LATCHKEY_DATA_DIR", value_name = "DIR", default_value = "data", global = true, help_heading = DATABASE)]
    pub data_dir: PathBuf,

    /// The file that holds the secret, mode 0600; made at the first start. Default: secret in DATA_DIR.
    #[arg(long, env = "LATCHKEY_SECRET_FILE", value_name = "FILE", global = true, help_heading = DATABASE)]
    secret_file: Option<PathBuf>,

    /// The secret itself, 32 characters or more; several, newest first, with commas between them.
    /// Must be given (this way or as a file) with PostgreSQL, so that all machines share it.
    #[arg(long, env = "LATCHKEY_SECRET", value_name = "SECRET", hide_env_values = true, global = true, help_heading = DATABASE)]
    secret: Option<Secret>,

    /// The mail server: smtps://USER:PASSWORD@HOST, or smtp://… for STARTTLS.
    /// Without it emails are kept in DATA_DIR/mailbox and shown at /dev/mailbox, for which LISTEN and PUBLIC_URL
    /// must be on loopback.
    #[arg(long, env = "LATCHKEY_SMTP_URL", value_name = "URL", hide_env_values = true, global = true, help_heading = MAIL)]
    smtp_url: Option<Hidden>,

    /// The sender of emails, such as "Acme <no-reply@example.com>"; must be given with SMTP_URL.
    #[arg(long, env = "LATCHKEY_MAIL_FROM", value_name = "MAILBOX", value_parser = value::mailbox, global = true, help_heading = MAIL)]
    pub mail_from: Option<Mailbox>,

    /// Where answers to emails go, if anybody reads them: a mailbox, such as help@example.com.
    #[arg(long, env = "LATCHKEY_MAIL_REPLY_TO", value_name = "MAILBOX", value_parser = value::mailbox, global = true, help_heading = MAIL)]
    pub mail_reply_to: Option<Mailbox>,

    /// The site's name, in pages and emails.
    #[arg(long, env = "LATCHKEY_SITE_NAME", value_name = "NAME", default_value = "Latchkey", value_parser = value::site_name, global = true, help_heading = LOOK)]
    pub site_name: String,

    /// The language, such as zh-CN, for browsers that ask for none that we have.
    #[arg(long, env = "LATCHKEY_LANGUAGE", value_name = "TAG", default_value = "en", value_parser = value::language, global = true, help_heading = LOOK)]
    pub language: Locale,

    /// The site's logo, an SVG, PNG or WebP file of 64 KiB at most; beside its name, and as its icon.
    #[arg(long, env = "LATCHKEY_LOGO", value_name = "FILE", global = true, help_heading = LOOK)]
    pub logo: Option<PathBuf>,

    /// The site's colours on light screens, such as "accent=#0b6e4f,bg=#ffffff".
    /// Names: bg, surface, text, muted, accent, on-accent. Text needs a contrast of 4.5:1.
    #[arg(long, env = "LATCHKEY_THEME_LIGHT", value_name = "COLOURS", global = true, help_heading = LOOK)]
    pub theme_light: Option<String>,

    /// The site's colours on dark screens.
    #[arg(long, env = "LATCHKEY_THEME_DARK", value_name = "COLOURS", global = true, help_heading = LOOK)]
    pub theme_dark: Option<String>,

    /// Where home is, such as https://www.example.com: the logo leads there, and so does a log-in that no other page asked
    /// for. Default: the site's own first page, and the profile.
    #[arg(long, env = "LATCHKEY_HOME_URL", value_name = "URL", global = true, help_heading = LOOK)]
    pub home_url: Option<WebUrl>,

    /// Links at the foot of every page, such as "Terms=https://example.com/terms,Help=mailto:help@example.com".
    /// A comma in an address is written %2C.
    #[arg(long, env = "LATCHKEY_LINKS", value_name = "NAME=URL", value_delimiter = ',', global = true, help_heading = LOOK)]
    pub links: Vec<Link>,

    /// Who may create an account.
    #[arg(long, env = "LATCHKEY_SIGNUP", value_name = "MODE", default_value = "verify", global = true, help_heading = ACCOUNTS)]
    pub signup: Signup,

    /// The least characters in a new password; NIST asks for 15 where the password is all there is.
    #[arg(long, env = "LATCHKEY_PASSWORD_MIN_LENGTH", value_name = "N", default_value = "8", value_parser = clap::value_parser!(u32).range(8..=64), global = true, help_heading = ACCOUNTS)]
    pub password_min_length: u32,

    /// Memory for one password hash (argon2id), in KiB.
    #[arg(long, env = "LATCHKEY_HASH_MEMORY", value_name = "KIB", default_value = "19456", value_parser = clap::value_parser!(u32).range(19_456..=1_048_576), global = true, help_heading = ACCOUNTS)]
    pub hash_memory: u32,

    /// Passes over that memory for one password hash.
    #[arg(long, env = "LATCHKEY_HASH_PASSES", value_name = "N", default_value = "2", value_parser = clap::value_parser!(u32).range(2..=64), global = true, help_heading = ACCOUNTS)]
    pub hash_passes: u32,

    /// How long a session lasts, in hours, however much it is used. It ends after two hours without use, too.
    #[arg(long, env = "LATCHKEY_SESSION_HOURS", value_name = "N", default_value = "24", value_parser = clap::value_parser!(u32).range(1..=720), global = true, help_heading = ACCOUNTS)]
    pub session_hours: u32,

    /// How long a session with "keep me logged in" lasts, in days, however much it is used. NIST allows 30 where the
    /// password is all there is.
    #[arg(long, env = "LATCHKEY_REMEMBER_DAYS", value_name = "N", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=30), global = true, help_heading = ACCOUNTS)]
    pub remember_days: u32,

    /// How long a session with "keep me logged in" lasts without use, in days.
    #[arg(long, env = "LATCHKEY_REMEMBER_IDLE_DAYS", value_name = "N", default_value = "14", value_parser = clap::value_parser!(u32).range(1..=30), global = true, help_heading = ACCOUNTS)]
    pub remember_idle_days: u32,

    /// How long an API token lasts, in minutes.
    #[arg(long, env = "LATCHKEY_TOKEN_MINUTES", value_name = "N", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=1440), global = true, help_heading = ACCOUNTS)]
    pub token_minutes: u32,

    /// Addresses and networks of reverse proxies whose X-Forwarded-For is believed, such as 127.0.0.1 or 10.0.0.0/8;
    /// commas between them.
    #[arg(long, env = "LATCHKEY_TRUSTED_PROXIES", value_name = "NETWORKS", value_delimiter = ',', value_parser = value::network, global = true, help_heading = ADDRESS)]
    pub trusted_proxies: Vec<IpNet>,

    /// Limits on how often clients may try and how many connections each may have; "off" is for load tests and
    /// refused unless LISTEN and PUBLIC_URL are on loopback.
    #[arg(long, env = "LATCHKEY_RATE_LIMITS", value_name = "ON|OFF", default_value = "on", global = true, help_heading = LIMITS)]
    rate_limits: Switch,

    /// How long to keep what happened to accounts (log-ins, failed ones, resets), in days.
    #[arg(long, env = "LATCHKEY_EVENT_DAYS", value_name = "N", default_value = "90", value_parser = clap::value_parser!(u32).range(1..=3650), global = true, help_heading = LOG)]
    pub event_days: u32,

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
    /// Anyone who can read mail at the address they give.
    Verify,
    /// Anyone, at once; the address is not checked.
    Open,
    /// Nobody.
    Closed,
}

/// How log lines look.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum DatabaseTls {
    /// A certificate for the host's name, from an authority that is trusted.
    Verify,
    /// Whatever DATABASE_URL says.
    Unverified,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    On,
    Off,
}

/// A URL that may hold a password, and so never prints.
#[derive(Clone)]
pub struct Hidden(String);

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
    /// unless the address is given. Returns whether it is known now.
    pub fn recall_public_url(&mut self) -> bool {
        if self.public_url.is_none() {
            self.public_url = Served::read(&self.data_dir).and_then(|served| served.public_url.parse().ok());
        }
        self.public_url.is_some()
    }

    /// Where people find the site.
    pub fn public_url(&self) -> PublicUrl {
        self.public_url.clone().unwrap_or_else(|| {
            let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
            let local = format!("{scheme}://localhost:{}", self.listen.port());
            local.parse().expect("an origin")
        })
    }

    /// The files with the certificate and its key.
    pub fn tls_files(&self) -> Option<(&Path, &Path)> {
        self.tls_cert.as_deref().zip(self.tls_key.as_deref())
    }

    /// Returns whether the site may do without TLS on a private network, to be tried out.
    pub fn is_insecure_lan(&self) -> bool {
        self.insecure_lan == Switch::On
    }

    /// Returns whether browsers are told to use https for every subdomain too.
    pub fn hsts_covers_subdomains(&self) -> bool {
        self.hsts_subdomains == Switch::On
    }

    /// Whether there are limits at all; there are none for load tests.
    pub fn has_limits(&self) -> bool {
        self.rate_limits == Switch::On
    }

    /// The database's address; may hold a password.
    pub fn database_url(&self) -> String {
        match &self.database_url {
            Some(url) => url.0.clone(),
            None => {
                // By way of a URL, which knows how to write a folder with a space or a # in its name.
                let file = std::path::absolute(self.data_dir.join("latchkey.db")).unwrap_or_default();
                let url = Url::from_file_path(file).map(String::from).unwrap_or_default();
                url.replacen("file:", "sqlite:", 1)
            }
        }
    }

    /// Whether the database is a file of our own.
    pub fn uses_sqlite(&self) -> bool {
        self.database_url().starts_with("sqlite:")
    }

    /// The secret as a setting, or else the file to keep it in.
    pub fn secret(&self) -> Result<Secret, PathBuf> {
        match (&self.secret, &self.secret_file) {
            (Some(secret), _) => Ok(secret.clone()),
            (None, Some(file)) => Err(file.clone()),
            (None, None) => Err(self.data_dir.join("secret")),
        }
    }

    /// The mail server, or none when letters stay in the mailbox folder.
    ///
    /// # Errors
    /// One line that names the setting and does not repeat its value, which may hold a password.
    pub fn smtp(&self) -> Result<Option<Smtp>, String> {
        self.smtp_url.as_ref().map(|url| Smtp::parse(&url.0, self.is_insecure_lan())).transpose()
    }

    /// Whether letters are kept in the development mailbox, for want of a mail server.
    pub fn keeps_letters(&self) -> bool {
        self.smtp_url.is_none()
    }

    /// The folder of the development mailbox, while there is no mail server.
    pub fn dev_mailbox(&self) -> Option<PathBuf> {
        self.smtp_url.is_none().then(|| self.data_dir.join("mailbox"))
    }
}
