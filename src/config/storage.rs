//! Where the site keeps its database and its secret. Commands that do not serve need only these settings.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use time::Duration;

use super::{DATABASE, Hidden};
use crate::data::Folder;
use crate::db::DatabaseUrl;
use crate::secret::Secret;

/// The settings of the group “Database and secret”, as they were typed.
#[derive(Args, Clone, Debug)]
pub(super) struct StorageConfig {
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
    pub(super) data_dir: PathBuf,

    /// The file that holds the secret, mode 0600; made at the first start. Default: secret in DATA_DIR.
    #[arg(long, env = "LATCHKEY_SECRET_FILE", value_name = "FILE", global = true, help_heading = DATABASE)]
    secret_file: Option<PathBuf>,

    /// The secret itself, 32 characters or more; several, newest first, with commas between them.
    /// Must be given (this way or as a file) with PostgreSQL, so that all machines share it.
    #[arg(long, env = "LATCHKEY_SECRET", value_name = "SECRET", hide_env_values = true, global = true, help_heading = DATABASE)]
    secret: Option<Secret>,

    /// A folder for backups that the server makes by itself; none without it. Best on another disk.
    #[arg(long, env = "LATCHKEY_BACKUP_DIR", value_name = "DIR", global = true, help_heading = DATABASE)]
    backup_dir: Option<PathBuf>,

    /// How many hours pass from one backup to the next.
    #[arg(long, env = "LATCHKEY_BACKUP_HOURS", value_name = "N", default_value = "24", value_parser = clap::value_parser!(u32).range(1..=720), global = true, help_heading = DATABASE)]
    backup_hours: u32,

    /// How many of these backups stay; the oldest ones are deleted.
    #[arg(long, env = "LATCHKEY_BACKUP_KEEP", value_name = "N", default_value = "7", value_parser = clap::value_parser!(u32).range(1..=1000), global = true, help_heading = DATABASE)]
    backup_keep: u32,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum DatabaseTls {
    /// A certificate for the host's name, from an authority that is trusted.
    Verify,
    /// As DATABASE_URL says.
    Unverified,
}

impl StorageConfig {
    /// Returns the folder of the development mailbox.
    pub(super) fn mailbox(&self) -> PathBuf {
        self.data_dir.join("mailbox")
    }

    /// Returns the checked address of the database, or of another one.
    pub(super) fn database(&self, another: Option<&str>) -> anyhow::Result<DatabaseUrl> {
        let own = self.database_url.as_ref().map(|url| url.0.as_str());
        let database: DatabaseUrl = match another.or(own) {
            Some(url) => url.parse()?,
            None => DatabaseUrl::of_file(&self.data_dir.join("latchkey.db"))?,
        };
        if self.database_tls == DatabaseTls::Verify && database.is_unverified() {
            bail!(
                "LATCHKEY_DATABASE_URL must end with ?sslmode=verify-full (and &sslrootcert=FILE for an authority of your own), because the database is not on loopback: an attacker on the way to it could read and change accounts; LATCHKEY_DATABASE_TLS=unverified if you trust that network"
            );
        }
        Ok(database)
    }
}

/// Where the site keeps its database and its secret. Only [`super::Config::storage`] and [`super::Settings::parse`] make one,
/// and they check it.
#[expect(clippy::manual_non_exhaustive, reason = "`#[non_exhaustive]` does not stop other modules of this crate")]
#[derive(Clone, Debug)]
pub struct Storage {
    /// The folder for the database, the secret and kept emails.
    pub data_dir: PathBuf,
    /// The database.
    pub database: DatabaseUrl,
    /// The secret, or the file that holds it.
    pub secret: SecretSource,
    /// Where the server puts backups, if it makes any.
    pub backups: Option<Folder>,
    _checked: (),
}

/// Where the secret comes from.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// The setting `LATCHKEY_SECRET` holds it.
    Given(Secret),
    /// This file holds it.
    File(PathBuf),
}

impl Storage {
    pub(super) fn parse(typed: StorageConfig) -> anyhow::Result<Self> {
        let database = typed.database(None)?;
        let StorageConfig { data_dir, secret_file, secret, backup_dir, backup_hours, backup_keep, .. } = typed;
        let secret = match (secret, secret_file) {
            (Some(_), Some(_)) => bail!("LATCHKEY_SECRET and LATCHKEY_SECRET_FILE are both given; keep one"),
            (Some(secret), None) => SecretSource::Given(secret),
            (None, Some(file)) => SecretSource::File(file),
            // Made there, a secret would be another one on each machine that shares the database.
            (None, None) if !database.is_sqlite() => {
                bail!("LATCHKEY_SECRET or LATCHKEY_SECRET_FILE must be given with PostgreSQL")
            }
            (None, None) => SecretSource::File(data_dir.join("secret")),
        };
        let backups = backup_dir.map(|path| Folder {
            path,
            every: Duration::hours(backup_hours.into()),
            keep: usize::try_from(backup_keep).unwrap_or(usize::MAX),
        });
        Ok(Self { data_dir, database, secret, backups, _checked: () })
    }
}
