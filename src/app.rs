//! What every part of the running program shares.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustix::fs::{Access, access};
use time::OffsetDateTime;
use tokio::sync::Notify;
use tracing::warn;

use crate::accounts::limit::Limits;
use crate::accounts::password::hasher::Hasher;
use crate::accounts::password::{NewPassword, PasswordError, PasswordPolicy};
use crate::accounts::session::{self, Lifetime, Lifetimes};
use crate::accounts::{self, Accounts, user};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{self, Db};
use crate::keys::{Fingerprint, Keys, Use};
use crate::look::Look;
use crate::metrics::Metrics;
use crate::recent::Recent;
use crate::secret::Secret;
use crate::throttle::Throttle;
use crate::urls::PublicUrl;

/// How long the answer of the database to a load balancer's probe counts.
const READINESS_KEPT: Duration = Duration::from_secs(1);

/// The shared state; one a process.
#[derive(Debug)]
pub struct App {
    /// The settings.
    pub config: Config,
    /// Where people find the site.
    pub public_url: PublicUrl,
    /// The site's style sheet, script, icon and colours.
    pub look: Arc<Look>,
    /// The database.
    pub db: Db,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
    /// For session cookies.
    pub keys: Keys,
    /// For API tokens.
    pub token_keys: Keys,
    /// What accounts are kept with.
    pub accounts: Accounts,
    /// What clients have tried.
    pub throttle: Throttle,
    /// Whether the database answered, within the last second.
    pub readiness: Recent<Result<(), String>>,
    /// What a new password must be.
    pub policy: PasswordPolicy,
    /// Rung when a letter was put into the outbox.
    pub bell: Notify,
    /// Keeps other servers off the database.
    _lock: Option<File>,
}

impl App {
    /// Checks the settings, makes the data folder and the secret where there are none, connects and
    /// migrates.
    ///
    /// # Errors
    /// One line that names the setting to look at.
    pub async fn open(config: Config) -> anyhow::Result<Arc<Self>> {
        Self::open_for(config, false).await
    }

    /// As [`App::open`], for a server, which has a SQLite file to itself: two would each send the letters that the
    /// other is sending, and neither would know of the other's forms and tries. Commands may run beside it.
    ///
    /// # Errors
    /// As [`App::open`], and when another process serves from the file.
    pub async fn open_alone(config: Config) -> anyhow::Result<Arc<Self>> {
        Self::open_for(config, true).await
    }

    async fn open_for(config: Config, alone: bool) -> anyhow::Result<Arc<Self>> {
        config.check().map_err(anyhow::Error::msg)?;
        let look = Arc::new(Look::open(&config).map_err(anyhow::Error::msg)?);
        make_folder(&config.data_dir)?;
        let lock = (alone && config.uses_sqlite()).then(|| Db::lock(&config.database_url()));
        let lock = lock.transpose().context("LATCHKEY_DATABASE_URL")?;
        let mut made_secret = None;
        let secret = match config.secret() {
            Ok(secret) => secret,
            Err(file) => {
                // Made here, a secret would be another one on each machine that shares the database.
                let shared = !config.uses_sqlite();
                made_secret = (!file.exists()).then(|| file.clone());
                let secret = if shared { Secret::load(&file) } else { Secret::load_or_create(&file) };
                secret.with_context(|| format!("LATCHKEY_SECRET_FILE: {}", file.display()))?
            }
        };
        let cannot = |what, why| anyhow::anyhow!("LATCHKEY_DATABASE_URL: cannot {what}: {}", db::why(&why));
        let db = Db::open(&config.database_url()).await.map_err(|why| cannot("open the database", why))?;
        db.migrate().await.map_err(|why| cannot("bring the tables up to date", why))?;
        warn_of_open_database(&config);
        if let Some(file) = made_secret {
            warn_of_new_secret(&db, &file).await.context("LATCHKEY_DATABASE_URL: cannot read the users")?;
        }
        let metrics = Arc::new(Metrics::default());
        let hasher = Hasher::start(config.hash_memory, config.hash_passes, metrics.hashing.clone())
            .context("LATCHKEY_HASH_MEMORY, LATCHKEY_HASH_PASSES")?;
        let public_url = config.public_url();
        let limits = Limits::new(config.has_limits(), Fingerprint::new(&secret));
        Ok(Arc::new(Self {
            keys: Keys::new(&secret, Use::SESSION_COOKIE, public_url.origin()),
            token_keys: Keys::new(&secret, Use::API_TOKEN, public_url.origin()),
            throttle: Throttle::new(config.has_limits()),
            readiness: Recent::new(READINESS_KEPT),
            accounts: Accounts {
                db: db.clone(),
                hasher,
                limits,
                lifetimes: lifetimes(&config),
                metrics: metrics.clone(),
            },
            policy: PasswordPolicy { min_length: config.password_min_length, site_name: config.site_name.clone() },
            clock: Clock::default(),
            bell: Notify::new(),
            public_url,
            look,
            db,
            metrics,
            config,
            _lock: lock,
        }))
    }

    /// Judges the password of a new account, given what an attacker would know of the person.
    ///
    /// # Errors
    /// When too many passwords are waiting.
    pub async fn new_password(
        &self,
        typed: &str,
        about: [&str; 3],
    ) -> accounts::Result<Result<NewPassword, PasswordError>> {
        self.judge(&self.accounts.hasher, typed, about).await
    }

    /// As [`App::new_password`], for a person who is logged in or has a link from an email, and so does not wait behind
    /// strangers.
    ///
    /// # Errors
    /// When too many passwords are waiting.
    pub async fn password_of_the_proven(
        &self,
        typed: &str,
        about: [&str; 3],
    ) -> accounts::Result<Result<NewPassword, PasswordError>> {
        self.judge(&self.accounts.hasher.for_the_known(), typed, about).await
    }

    async fn judge(
        &self,
        hasher: &Hasher,
        typed: &str,
        about: [&str; 3],
    ) -> accounts::Result<Result<NewPassword, PasswordError>> {
        let local_parts = about.iter().filter_map(|text| text.split_once('@')).map(|(local, _)| local);
        let known: Vec<&str> = about.iter().copied().chain(local_parts).collect();
        hasher.judge(typed, &self.policy, &known).await
    }

    /// The current time.
    pub fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }
}

/// Warns if others on this machine can read the SQLite database, such as one that was copied here.
fn warn_of_open_database(config: &Config) {
    let Ok(Some(file)) = Db::file(&config.database_url()) else { return };
    let folder = file.parent().unwrap_or(Path::new("."));
    let mode = |path: &Path| fs::metadata(path).map_or(0, |about| about.mode());
    if mode(&file) & 0o044 != 0 && mode(folder) & 0o011 != 0 {
        let name = file.display();
        warn!(
            "others on this machine can read {name}, and with it every address and password hash; run chmod 600 {name}"
        );
    }
}

/// Warns if the secret was made although the database has users: its file was lost, or left behind when the database was
/// moved.
async fn warn_of_new_secret(db: &Db, file: &Path) -> accounts::Result<()> {
    if user::any(db.read()).await? {
        warn!(
            "a new secret was made in {}, although the database has users: everybody is logged out. If you have the old file, stop the server, put the old file back, and start again",
            file.display()
        );
    }
    Ok(())
}

/// How long sessions last, as the settings say.
fn lifetimes(config: &Config) -> Lifetimes {
    let days = |days: u32| time::Duration::days(days.into());
    let absolute = time::Duration::hours(config.session_hours.into());
    Lifetimes {
        until_closed: Lifetime { idle: session::IDLE, absolute },
        remembered: Lifetime { idle: days(config.remember_idle_days), absolute: days(config.remember_days) },
    }
}

/// A folder in which nobody else can put another secret or database in the place of ours.
fn make_folder(dir: &Path) -> anyhow::Result<()> {
    let name = dir.display();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("LATCHKEY_DATA_DIR: cannot make {name}"))?;
    if fs::metadata(dir)?.mode() & 0o022 != 0 {
        anyhow::bail!(
            "LATCHKEY_DATA_DIR: others can write into {name}; run chmod go-w {name}, or name a new folder in it"
        );
    }
    access(dir, Access::WRITE_OK | Access::EXEC_OK)
        .with_context(|| format!("LATCHKEY_DATA_DIR: cannot write into {name}"))
}
