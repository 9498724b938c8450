//! Backups that the server makes by itself, beside its work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tracing::{Instrument, error_span, info, warn};

use crate::app::App;
use crate::data::{self, Backup, Folder, Source};
use crate::db::within;

/// How often to look whether a backup is due.
const EVERY: Duration = Duration::from_secs(60);
/// How long to wait after a failure. A large database is not read every minute for a disk that is full.
const AFTER_FAILURE: Duration = Duration::from_secs(600);
/// How long a backup may take.
const LONGEST: Duration = Duration::from_secs(6 * 60 * 60);

/// Makes a backup whenever the newest one is old enough, without end.
pub async fn run(app: Arc<App>) {
    let Some(folder) = &app.settings.storage.backups else { return std::future::pending().await };
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        let looking = within(LONGEST, look(&app, folder)).instrument(error_span!("backup"));
        if let Err(why) = looking.await {
            app.metrics.backups.failures.inc();
            let (folder, minutes) = (folder.path.display(), AFTER_FAILURE.as_secs() / 60);
            warn!(
                "no backup was made in {folder} (LATCHKEY_BACKUP_DIR); the next attempt is in {minutes} minutes: {why:#}"
            );
            tokio::time::sleep(AFTER_FAILURE).await;
        }
    }
}

/// Makes a backup if it is due.
async fn look(app: &App, folder: &Folder) -> anyhow::Result<()> {
    let now = app.now();
    let newest = folder.newest(now)?;
    app.metrics.backups.note(newest);
    if newest.is_some_and(|at| now - at < folder.every) {
        return Ok(());
    }
    // A connection of its own, so that requests have all of theirs.
    let (source, began) = (Source::open(&app.settings.storage.database).await?, Instant::now());
    if !source.take_turn().await? {
        info!("another machine is making a backup of this database; looking again in a minute");
        return source.close().await;
    }
    let (file, made) = (folder.file(now), make(&source, folder, now).await);
    source.close().await?;
    let Backup { survey, bytes, .. } = made?;
    app.metrics.backups.note(Some(now));
    let (file, users, rows, seconds) = (file.display(), survey.users(), survey.rows(), began.elapsed().as_secs());
    info!(%file, users, rows, bytes, seconds, "written, read again and compared");
    Ok(())
}

async fn make(source: &Source, folder: &Folder, now: OffsetDateTime) -> anyhow::Result<Backup> {
    let backup = data::write(source, &folder.file(now), now).await?;
    folder.tidy(now)?;
    Ok(backup)
}
