//! The server's files, as commands find them.

use std::path::{self, Path};

use crate::config::Storage;
use crate::db::{self, Db};

/// The advice for a command that finds no data, which usually runs in a shell without the server's settings.
pub(super) const ELSEWHERE: &str =
    "run this in the server's folder, or give --data-dir, or --env-file with the server's settings";

/// Opens the server's database for a command, which makes neither a file nor a table. In a shell without the server's
/// settings, a command would otherwise look at a new empty database, and the operator would not notice.
pub(super) async fn open_db(storage: &Storage) -> anyhow::Result<Db> {
    let file = storage.database.file();
    if let Some(file) = file {
        look_for("database", file)?;
    }
    let cannot = |what, why| anyhow::anyhow!("LATCHKEY_DATABASE_URL: cannot {what}: {}", db::why(&why));
    let db = Db::open_existing(&storage.database).await.map_err(|why| cannot("open the database", why))?;
    if !db.is_up_to_date().await.map_err(|why| cannot("read the tables", why))? {
        let name = file.map_or_else(|| "the database".to_owned(), absolute);
        anyhow::bail!(
            "{name} does not have the tables of this version; start the server, which makes them, or run `latchkey migrate`"
        );
    }
    Ok(db)
}

/// Refuses to go on without a file. The error says which path has no file.
pub(super) fn look_for(what: &str, file: &Path) -> anyhow::Result<()> {
    match file.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => anyhow::bail!("there is no {what} at {}; {ELSEWHERE}", absolute(file)),
        Err(why) => anyhow::bail!("cannot look at {}: {why}; run this as the server's user", absolute(file)),
    }
}

pub(super) fn absolute(path: &Path) -> String {
    path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}
