//! A backup: one SQLite file with all tables, and with the digests that say later whether it is still whole.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, bail};
use sea_orm::sea_query::{Alias, ColumnDef, Expr, Query, Table as TableStatement};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::copy::{self, Source, in_words};
use super::new_file::{folder_of, refuse_existing};
use super::survey::{Content, Survey};
use super::table::{LEFT_OUT, TABLES};
use crate::db::{DatabaseUrl, Db};

/// The table that only backups have: a row for each table, with what it held.
const DIGESTS: &str = "latchkey_backup";

/// How many snapshots, which are backups from before a migration, are kept.
const SNAPSHOTS: usize = 3;

/// A backup that was checked.
#[derive(Clone, Debug)]
pub struct Backup {
    /// What it holds.
    pub survey: Survey,
    /// When it was begun, or `None` for a plain copy of a SQLite database, which has no digests to compare with.
    pub made_at: Option<OffsetDateTime>,
    /// The size of the file.
    pub bytes: u64,
}

/// Writes a backup. It is read again from the file and compared before the file gets its name.
///
/// # Errors
/// One line that says what to do. There is no file then. A file that exists is refused.
pub async fn write(from: &Source, file: &Path, now: OffsetDateTime) -> anyhow::Result<Backup> {
    refuse_existing(file, "name another file")?;
    replace(from, file, now).await
}

/// As [`write`], in place of a file that exists.
async fn replace(from: &Source, file: &Path, now: OffsetDateTime) -> anyhow::Result<Backup> {
    let copied = copy::fill_file(from, file).await?;
    write_digests(copied.conn(), &copied.read, now).await.map_err(in_words)?;
    let new = copied.end().await?.context("a backup is a file")?;
    let backup = check(new.part()).await?;
    new.publish()?;
    Ok(backup)
}

async fn write_digests(conn: &impl ConnectionTrait, survey: &Survey, now: OffsetDateTime) -> Result<(), DbErr> {
    let name = |name: &str| Alias::new(name);
    let column = |of: &str| ColumnDef::new(name(of));
    let mut create = TableStatement::create();
    create.table(name(DIGESTS)).col(column("of_table").string().not_null().primary_key());
    create.col(column("row_count").big_integer().not_null()).col(column("digest").string().not_null());
    conn.execute(create.col(column("made_at").string().not_null())).await?;
    let made_at = now.format(&Rfc3339).unwrap_or_default();
    let mut insert = Query::insert();
    insert.into_table(name(DIGESTS)).columns(["of_table", "row_count", "digest", "made_at"].map(name));
    for Content { table, rows, digest } in &survey.0 {
        let row = [table.as_str().into(), (*rows).into(), digest.as_str().into(), made_at.as_str().into()];
        insert.values(row.map(Expr::value::<sea_orm::Value>)).map_err(|why| DbErr::Custom(why.to_string()))?;
    }
    conn.execute(&insert).await?;
    Ok(())
}

/// Checks a backup, or a plain copy of a SQLite database: SQLite's integrity, that it has only known tables, and that its rows
/// are those of its digests. SQLite has no checksums of rows itself.
///
/// # Errors
/// What is wrong with it.
pub async fn check(file: &Path) -> anyhow::Result<Backup> {
    let bytes = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
    let checked = async {
        let source = Source::open_file(file).await?;
        let conn = &source.reading;
        let found = texts(conn, "PRAGMA integrity_check").await.map_err(in_words)?;
        if found != ["ok"] {
            bail!("SQLite finds it damaged: {}", found.first().map_or("", String::as_str));
        }
        let tables = "SELECT name FROM sqlite_master WHERE type = 'table'";
        let tables = texts(conn, tables).await.map_err(in_words)?;
        let known = |name: &String| name == DIGESTS || TABLES.iter().chain(LEFT_OUT).any(|known| known == name);
        if let Some(other) = tables.iter().find(|name| !known(name)) {
            bail!("it has a table {other}, which is none of Latchkey's");
        }
        let survey = source.survey().await?;
        let made_at = if tables.iter().any(|name| name == DIGESTS) {
            let (kept, made_at) = digests(conn).await.map_err(in_words)?;
            kept.compare(&survey)?;
            Some(made_at)
        } else {
            None
        };
        source.close().await?;
        Ok(Backup { survey, made_at, bytes })
    };
    checked.await.with_context(|| format!("{} cannot be used", file.display()))
}

/// Reads the digests, in the order of the tables of a [`Survey`].
async fn digests(conn: &impl ConnectionTrait) -> Result<(Survey, OffsetDateTime), DbErr> {
    let ask = format!("SELECT of_table, row_count, digest, made_at FROM {DIGESTS}");
    let (mut all, mut made_at) = (vec![], OffsetDateTime::UNIX_EPOCH);
    for row in conn.query_all_raw(Statement::from_string(DbBackend::Sqlite, ask)).await? {
        let (table, rows, digest) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?);
        all.push(Content { table, rows, digest });
        let at: String = row.try_get_by_index(3)?;
        made_at = OffsetDateTime::parse(&at, &Rfc3339).map_err(|why| DbErr::Custom(why.to_string()))?;
    }
    all.sort_by_key(|content| TABLES.iter().position(|name| *name == content.table));
    Ok((Survey(all), made_at))
}

/// Returns the first column of every row.
async fn texts(conn: &impl ConnectionTrait, ask: &str) -> Result<Vec<String>, DbErr> {
    let rows = conn.query_all_raw(Statement::from_string(DbBackend::Sqlite, ask)).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// Writes a snapshot of a SQLite database that is about to be migrated into this folder, and keeps the last three of them.
/// A database that is new, and one that is up to date, needs none.
///
/// # Errors
/// If it cannot be written. The database must not be migrated then.
pub async fn before_migration(
    (db, url): (&Db, &DatabaseUrl),
    folder: &Path,
    now: OffsetDateTime,
) -> anyhow::Result<()> {
    let (true, Some(step)) = (url.is_sqlite(), db.next_step().await.map_err(in_words)?) else { return Ok(()) };
    let name = folder.join(format!("latchkey-before-{step}.db"));
    let written = async {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let source = Source::open(url).await?;
        replace(&source, &name, now).await?;
        source.close().await?;
        keep_newest(&name)
    };
    written
        .await
        .with_context(|| format!("nothing was migrated, because no backup could be written to {}", name.display()))
}

/// Deletes the snapshots beside this one, except the newest.
fn keep_newest(snapshot: &Path) -> anyhow::Result<()> {
    let mut all = vec![];
    for entry in fs::read_dir(folder_of(snapshot))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("latchkey-before-") && name.ends_with(".db") {
            all.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    all.sort();
    for (_, path) in all.iter().rev().skip(SNAPSHOTS) {
        fs::remove_file(path)?;
    }
    Ok(())
}
