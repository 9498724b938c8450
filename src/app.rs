//! What all parts of the running program share.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use rustix::fs::{Access, access};
use time::OffsetDateTime;
use tracing::warn;

use crate::accounts::apps::lately::Lately;
use crate::accounts::limit::Limits;
use crate::accounts::outbox::Queue;
use crate::accounts::password::PasswordPolicy;
use crate::accounts::password::hasher::Hasher;
use crate::accounts::policy::{self, Lifetime, Lifetimes, Policy};
use crate::accounts::refresh_token::RefreshTokens;
use crate::accounts::session::resume::Sessions;
use crate::accounts::signing_key::SigningKeys;
use crate::accounts::{self, Accounts, user};
use crate::clock::Clock;
use crate::config::{SecretSource, Settings, Storage};
use crate::data;
use crate::db::{self, Db};
use crate::keys::{Fingerprint, Keys, Use};
use crate::look::Look;
use crate::metrics::Metrics;
use crate::nodes::Node;
use crate::recent::Recent;
use crate::replay_store::ReplayStore;
use crate::secret::Secret;
use crate::urls::PublicUrl;

/// How long the database's answer to a probe of a load balancer is kept.
const READINESS_KEPT: Duration = Duration::from_secs(1);
/// How long it is kept whether emails wait. A page may wait for the answer to change, unless the mail server takes none. Then
/// all emails that wait are read for it, and there may be a hundred thousand.
fn mail_queue_kept(queue: &Queue) -> Duration {
    Duration::from_millis(if matches!(queue, Queue::Stuck { .. }) { 1000 } else { 100 })
}

/// The shared state. There is one per process.
#[derive(Debug)]
pub struct App {
    /// The settings.
    pub settings: Settings,
    /// The address of the site.
    pub public_url: PublicUrl,
    /// The site's style sheet, script, icon and colours.
    pub look: Arc<Look>,
    /// The database.
    pub db: Db,
    /// The counters for the operator.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
    /// The keys of session cookies.
    pub keys: Keys,
    /// The keys of forward cookies.
    pub forward_keys: Keys,
    /// The keys of API tokens.
    pub token_keys: Keys,
    /// The keys of `latchkey doctor`.
    pub doctor_keys: Keys,
    /// The apps, within the last second.
    pub apps: Lately,
    /// The context of the verbs.
    pub accounts: Accounts,
    /// Whether the database answered, within the last second.
    pub readiness: Recent<Result<(), String>>,
    /// Whether emails wait for the mail server, a moment ago.
    pub mail_queue: Recent<Queue>,
    /// The forms that the nodes of a PostgreSQL database answer once.
    pub replays: Option<ReplayStore>,
    /// This server, as a node of a PostgreSQL database.
    pub node: Option<Node>,
    stopping: AtomicBool,
    /// Keeps other servers off the database.
    _lock: Option<File>,
}

impl App {
    /// Makes the data folder and the secret where there are none, connects and migrates.
    ///
    /// # Errors
    /// One line that names the setting to look at.
    pub async fn open(settings: Settings) -> anyhow::Result<Arc<Self>> {
        Self::open_for(settings, false).await
    }

    /// As [`App::open`], for a server, which has a SQLite file to itself. Two servers would each send the letters that the
    /// other is sending, and neither would know of the other's forms and attempts. Commands may run beside a server.
    ///
    /// # Errors
    /// As [`App::open`], and when another process serves from the file.
    pub async fn open_alone(settings: Settings) -> anyhow::Result<Arc<Self>> {
        Self::open_for(settings, true).await
    }

    async fn open_for(settings: Settings, alone: bool) -> anyhow::Result<Arc<Self>> {
        let look = Arc::new(Look::open(&settings).map_err(anyhow::Error::msg)?);
        let storage = &settings.storage;
        make_folder("LATCHKEY_DATA_DIR", &storage.data_dir)?;
        let lock = storage.database.file().filter(|_| alone).map(Db::lock);
        let lock = lock.transpose().context("LATCHKEY_DATABASE_URL")?;
        let (secret, made) = secret(storage)?;
        let cannot = |what, why| anyhow::anyhow!("LATCHKEY_DATABASE_URL: cannot {what}: {}", db::why(&why));
        let db = Db::open(&storage.database).await.map_err(|why| cannot("open the database", why))?;
        let (snapshots, now) = (storage.data_dir.join("snapshots"), Clock::default().now());
        data::before_migration((&db, &storage.database), &snapshots, now).await.context("LATCHKEY_DATA_DIR")?;
        db.migrate().await.map_err(|why| cannot("bring the tables up to date", why))?;
        warn_of_open_database(&settings);
        if let Some(file) = made {
            warn_of_new_secret(&db, &file).await.context("LATCHKEY_DATABASE_URL: cannot read the users")?;
        }
        let metrics = Arc::new(Metrics::default());
        let (engine, memory, passes) = (settings.hash_engine, settings.hash_memory, settings.hash_passes);
        let hasher = Hasher::start(engine, memory, passes, metrics.hashing.clone())
            .context("LATCHKEY_HASH_MEMORY, LATCHKEY_HASH_PASSES")?;
        let public_url = settings.public_url.clone();
        let accounts = Accounts {
            db: db.clone(),
            sessions: Arc::new(Sessions::new(db.clone())),
            hasher,
            refresh: Arc::new(RefreshTokens::new(&secret)),
            signing: Arc::new(SigningKeys::new(db.clone(), &secret)),
            limits: Arc::new(Limits::new(settings.rate_limits, Fingerprint::new(&secret))),
            policy: Arc::new(policy(&settings)),
            bell: Arc::default(),
            metrics: metrics.clone(),
        };
        Ok(Arc::new(Self {
            keys: Keys::new(&secret, Use::SESSION_COOKIE, public_url.origin()),
            forward_keys: Keys::new(&secret, Use::FORWARD_COOKIE, public_url.origin()),
            token_keys: Keys::new(&secret, Use::API_TOKEN, public_url.origin()),
            doctor_keys: Keys::new(&secret, Use::DOCTOR, public_url.origin()),
            apps: Lately::new(db.clone()),
            readiness: Recent::new(|_| READINESS_KEPT),
            mail_queue: Recent::new(mail_queue_kept),
            clock: Clock::default(),
            replays: ReplayStore::new(&db, &secret),
            node: Node::new(&db),
            stopping: AtomicBool::new(false),
            accounts,
            public_url,
            look,
            db,
            metrics,
            settings,
            _lock: lock,
        }))
    }

    /// Notes that the server will stop. Load balancers are told so, and everything else is still answered.
    pub fn begin_to_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Returns whether the server will stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Returns the current time.
    pub fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }
}

/// Returns the secret, and its file if the file was made just now.
///
/// With PostgreSQL no file is made: each machine that shares the database would have another secret.
fn secret(storage: &Storage) -> anyhow::Result<(Secret, Option<PathBuf>)> {
    match &storage.secret {
        SecretSource::Given(secret) => Ok((secret.clone(), None)),
        SecretSource::File(file) => {
            let shared = !storage.database.is_sqlite();
            let made = (!file.exists()).then(|| file.clone());
            let secret = if shared { Secret::load(file) } else { Secret::load_or_create(file) };
            Ok((secret.with_context(|| format!("LATCHKEY_SECRET_FILE: {}", file.display()))?, made))
        }
    }
}

/// Warns if others on this machine can read the SQLite database, such as one that was copied here.
fn warn_of_open_database(settings: &Settings) {
    let Some(file) = settings.storage.database.file() else { return };
    let folder = file.parent().unwrap_or(Path::new("."));
    let mode = |path: &Path| fs::metadata(path).map_or(0, |about| about.mode());
    if mode(file) & 0o044 != 0 && mode(folder) & 0o011 != 0 {
        let name = file.display();
        warn!(
            "others on this machine can read {name}, and with it every address and password hash; run chmod 600 {name}"
        );
    }
}

/// Warns if the secret was made although the database has users: its file was lost, or was not moved together with the
/// database.
async fn warn_of_new_secret(db: &Db, file: &Path) -> accounts::Result<()> {
    if user::any(db.read()).await? {
        warn!(
            "a new secret was made in {}, although the database has users: every user is logged out. If you have the old file, stop the server, put the old file back, and start again",
            file.display()
        );
    }
    Ok(())
}

/// Returns what the settings say about accounts.
fn policy(settings: &Settings) -> Policy {
    Policy {
        signup: settings.signup,
        password: PasswordPolicy { min_length: settings.password_min_length, site_name: settings.site_name.clone() },
        lifetimes: Lifetimes {
            until_closed: Lifetime { idle: policy::IDLE, absolute: settings.session_lifetime },
            remembered: Lifetime { idle: settings.remember_idle, absolute: settings.remember_lifetime },
            token: settings.token_lifetime,
        },
    }
}

/// Makes the folder of a setting. It must be one in which no other user of the machine can replace the secret, the database or
/// a backup.
///
/// # Errors
/// One line that names the setting.
pub fn make_folder(setting: &str, dir: &Path) -> anyhow::Result<()> {
    let name = dir.display();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("{setting}: cannot make {name}"))?;
    if fs::metadata(dir)?.mode() & 0o022 != 0 {
        anyhow::bail!("{setting}: others can write into {name}; run chmod go-w {name}, or name a new folder in it");
    }
    access(dir, Access::WRITE_OK | Access::EXEC_OK).with_context(|| format!("{setting}: cannot write into {name}"))
}
