//! `latchkey backup`, `restore` and `move`: the whole database at once.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use time::OffsetDateTime;
use tracing::warn;
use url::Url;

use super::listing::{count, out};
use super::open::{absolute, look_for};
use crate::accounts::operator::{self, Settled};
use crate::app::make_folder;
use crate::clock::Clock;
use crate::config::{Config, SecretSource, Storage};
use crate::data::{self, Backup, Source, Survey};
use crate::db::{DatabaseUrl, Db};
use crate::locale::Locale;
use crate::visit_store;

/// The backup to restore.
#[derive(Args)]
pub(super) struct Restore {
    /// The file that `latchkey backup` has written.
    file: PathBuf,
    /// Keep users logged in. A session that was logged out or ended by a reset after the backup is open again then.
    #[arg(long)]
    keep_sessions: bool,
}

/// From where to where. A password in an address on the command line can be seen by every user of this machine: leave it out,
/// and give it as PGPASSWORD or in ~/.pgpass.
#[derive(Args)]
pub(super) struct Move {
    /// The database to read: sqlite://FILE or postgres://USER@HOST/NAME. Default: the one in the settings.
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// The database to write: a SQLite file that does not exist, or an empty PostgreSQL database.
    #[arg(long, value_name = "URL")]
    to: String,
}

/// Writes a backup of the server's database.
pub(super) async fn back_up(config: &Config, file: &Path) -> anyhow::Result<()> {
    let (storage, began) = (config.storage()?, Instant::now());
    if let Some(file) = storage.database.file() {
        look_for("database", file)?;
    }
    let source = Source::open(&storage.database).await.context("LATCHKEY_DATABASE_URL")?;
    let backup = data::write(&source, file, Clock::default().now()).await.context("no backup was made")?;
    source.close().await?;
    let (held, bytes) = (held(&backup.survey, began), count(backup.bytes, "byte"));
    out(format!("Wrote {}: {held}; {bytes}. Every row was read again from the file and compared.", file.display()))?;
    out(format!("{} is not in it: keep a copy of it too, in another place.", secret(&storage)))
}

/// Restores a backup into the database of the settings.
pub(super) async fn restore(config: &Config, Restore { file, keep_sessions }: &Restore) -> anyhow::Result<()> {
    let (storage, began, now) = (config.storage()?, Instant::now(), Clock::default().now());
    let backup = data::check(file).await?;
    if storage.database.is_sqlite() {
        make_folder("LATCHKEY_DATA_DIR", &storage.data_dir)?;
    }
    let _lock = lock(&storage.database).context("LATCHKEY_DATABASE_URL")?;
    let put = put_back(&storage.database, (file, &backup), *keep_sessions, now).await;
    let Settled { sessions, letters } = put.context("nothing was restored into LATCHKEY_DATABASE_URL")?;
    let of = backup
        .made_at
        .map_or("a copy without digests".to_owned(), |at| format!("a backup of {}", Locale::En.moment(&at)));
    out(format!(
        "Restored {}, {of}: {}. Every row was read again and compared.",
        file.display(),
        held(&backup.survey, began)
    ))?;
    if !keep_sessions {
        out(format!(
            "All users are logged out ({}), and unused reset links work no more.",
            count(sessions, "session")
        ))?;
    }
    if letters > 0 {
        out(format!(
            "{} waited to be sent when the backup was made; they are marked as failed and will not be sent.",
            count(letters, "email")
        ))?;
    }
    out(
        "Accounts are as they were then. What was changed since, such as an account that was disabled or a password, must be \
         changed again.",
    )?;
    let secret = secret(&storage);
    out(format!("{secret} is not in a backup: put back the one of that time before you start the server."))
}

/// Copies a backup into an empty database. It is not seen before it is whole.
async fn put_back(
    database: &DatabaseUrl,
    (file, backup): (&Path, &Backup),
    keep_sessions: bool,
    now: OffsetDateTime,
) -> anyhow::Result<Settled> {
    let source = Source::open_file(file).await?;
    let copied = data::fill(&source, database).await?;
    // The file may have been changed since it was checked.
    backup.survey.compare(&copied.read)?;
    copied.verify().await?;
    copied.migrate().await?;
    let settled = operator::settle_restored(copied.conn(), keep_sessions, now).await?;
    if !keep_sessions {
        visit_store::forget_all(copied.conn()).await?;
    }
    copied.publish().await?;
    source.close().await?;
    Ok(settled)
}

/// Moves everything into another database.
pub(super) async fn move_to(config: &Config, Move { from, to }: &Move) -> anyhow::Result<()> {
    let began = Instant::now();
    let (from, to) = (address(config, "--from", from.as_deref())?, address(config, "--to", Some(to))?);
    if let Some(file) = from.file() {
        look_for("database", file).context("--from")?;
    }
    let _locks = (lock(&from).context("--from")?, lock(&to).context("--to")?);
    let source = Source::open(&from).await.context("--from")?;
    if source.is_in_use().await? {
        bail!("--from: a Latchkey uses it; stop all servers first, or what they write would be lost");
    }
    let copied = data::fill(&source, &to).await.context("--to")?;
    copied.verify().await.context("--to")?;
    copied.migrate().await.context("--to")?;
    let read = copied.read.clone();
    copied.publish().await.context("--to")?;
    source.close().await?;
    out(format!("Copied {}. Every row was read again and compared.", held(&read, began)))?;
    out(
        "Now set LATCHKEY_DATABASE_URL to the new address, keep the secret (LATCHKEY_SECRET_FILE), and start the server. The old database is unchanged; no server may use it again.",
    )
}

/// Reads the address of an option. The error does not repeat it.
fn address(config: &Config, option: &str, typed: Option<&str>) -> anyhow::Result<DatabaseUrl> {
    if typed.and_then(|url| Url::parse(url).ok()).is_some_and(|url| url.password().is_some()) {
        warn!(
            "every user of this machine can read the password in {option} while this runs; PGPASSWORD or ~/.pgpass hides it"
        );
    }
    let named = |why: anyhow::Error| match typed {
        Some(_) => anyhow::Error::msg(format!("{why:#}").replace("LATCHKEY_DATABASE_URL", option)),
        None => why,
    };
    config.database(typed).map_err(named)
}

/// Keeps servers off a SQLite file. The lock ends when it is dropped.
fn lock(url: &DatabaseUrl) -> anyhow::Result<Option<File>> {
    url.file().map(|file| Db::lock(file).context("stop the server first")).transpose()
}

fn held(survey: &Survey, began: Instant) -> String {
    let (users, rows) = (count(survey.users(), "user"), count(survey.rows(), "row"));
    format!("{users}, {rows}, in {:.1} s", began.elapsed().as_secs_f64())
}

/// Returns where the secret is.
fn secret(storage: &Storage) -> String {
    match &storage.secret {
        SecretSource::Given(_) => "The secret (LATCHKEY_SECRET)".to_owned(),
        SecretSource::File(file) => format!("The secret ({})", absolute(file)),
    }
}
