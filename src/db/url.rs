//! The address of the database: a SQLite file, or a PostgreSQL server.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};
use sea_orm::sqlx::postgres::{PgConnectOptions, PgSslMode};
use sea_orm::sqlx::sqlite::SqliteConnectOptions;
use url::Url;

/// The address of a database that can be opened. It may hold a password, so it never prints.
#[derive(Clone)]
pub struct DatabaseUrl {
    url: String,
    file: Option<PathBuf>,
}

impl DatabaseUrl {
    /// Returns the address of a SQLite file.
    ///
    /// # Errors
    /// One line that names the setting, if the file's name cannot be part of an address.
    pub fn of_file(file: &Path) -> anyhow::Result<Self> {
        // A URL can hold a folder with a space or a # in its name.
        let file = std::path::absolute(file).unwrap_or_default();
        let url = Url::from_file_path(file).map(String::from).unwrap_or_default();
        url.replacen("file:", "sqlite:", 1).parse()
    }

    /// Returns the SQLite file, or `None` if the database is a PostgreSQL server.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Returns whether the database is a SQLite file.
    pub fn is_sqlite(&self) -> bool {
        self.file.is_some()
    }

    /// Returns whether the address leads off this machine to a PostgreSQL server that need not prove who it is. Only
    /// `verify-full` does both: it encrypts, and it compares the certificate with the host's name (PostgreSQL, 34.19.1).
    pub fn is_unverified(&self) -> bool {
        // A URL that cannot be read is refused when the database is opened.
        let Ok(options) = PgConnectOptions::from_str(&self.url) else { return false };
        let host = options.get_host().trim_matches(['[', ']']);
        let loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let local = loopback || host.starts_with('/') || options.get_socket().is_some();
        !self.is_sqlite() && !local && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull)
    }

    /// Returns the whole address, for the database library.
    pub(super) fn reveal(&self) -> &str {
        &self.url
    }
}

impl FromStr for DatabaseUrl {
    type Err = anyhow::Error;

    /// Reads `sqlite://FILE` or `postgres://…`. The error does not repeat the address, which may hold a password, and does
    /// not leave it to the database library, which would repeat it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.starts_with("sqlite:") && !text.starts_with("postgres:") && !text.starts_with("postgresql:") {
            bail!("LATCHKEY_DATABASE_URL must begin with sqlite: or postgres:");
        }
        if Url::parse(text).is_err() {
            bail!("LATCHKEY_DATABASE_URL is not a URL; characters such as # and @ in a password are written %23, %40");
        }
        let url = text.to_owned();
        let Some(file) = text.strip_prefix("sqlite:") else { return Ok(Self { url, file: None }) };
        // In memory, each connection would have a database of its own.
        if file.trim_start_matches("//").is_empty() || file.contains(":memory:") || file.contains('?') {
            bail!("LATCHKEY_DATABASE_URL must be sqlite:// and the name of a file, with nothing behind it");
        }
        let options = SqliteConnectOptions::from_str(text).context("LATCHKEY_DATABASE_URL")?;
        Ok(Self { url, file: Some(options.get_filename().to_owned()) })
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(…)")
    }
}
