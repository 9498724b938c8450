//! Copies all tables of one database into another.

use std::path::Path;

use anyhow::bail;
use migrations::{Migrator, MigratorTrait};
use sea_orm::sea_query::{self, Alias};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr};

use super::new_file::{NewFile, refuse_existing};
use super::survey::{Survey, Tally};
use super::table::{LEFT_OUT, TABLES, Table};
use crate::db::{self, Alone, DatabaseUrl, Db};

/// A database as it was at one moment. Others may write meanwhile.
#[derive(Debug)]
pub struct Source {
    pub(super) reading: DatabaseTransaction,
    db: Db,
    /// How many of the steps it has. It need not have all: an older backup is read too.
    steps: u32,
}

impl Source {
    /// Opens a database that a server may be using.
    ///
    /// # Errors
    /// One line that says what to do, also if there is no database or if a newer Latchkey has changed it.
    pub async fn open(url: &DatabaseUrl) -> anyhow::Result<Self> {
        Self::of(Db::open_existing(url).await.map_err(in_words)?).await
    }

    /// Opens a SQLite file that no server uses. Nothing is written, neither into the file nor beside it.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub async fn open_file(file: &Path) -> anyhow::Result<Self> {
        Self::of(Db::open_read_only(file).await.map_err(in_words)?).await
    }

    async fn of(db: Db) -> anyhow::Result<Self> {
        let reading = db.begin_reading().await.map_err(in_words)?;
        let steps = steps(&reading).await?;
        if steps == 0 {
            bail!("it has no tables of Latchkey");
        }
        Ok(Self { reading, db, steps })
    }

    /// Returns what it holds. Reads every row.
    pub async fn survey(&self) -> anyhow::Result<Survey> {
        Survey::of(&self.reading).await.map_err(in_words)
    }

    /// Returns whether a server or a command uses this PostgreSQL database now.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn is_in_use(&self) -> anyhow::Result<bool> {
        db::is_in_use(&self.reading).await.map_err(in_words)
    }

    /// Takes the turn of a scheduled backup, until the reading ends. Returns `false` if another node has it.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn take_turn(&self) -> anyhow::Result<bool> {
        db::take_backup_turn(&self.reading).await.map_err(in_words)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// If the database is out of reach.
    pub async fn close(self) -> anyhow::Result<()> {
        self.reading.rollback().await.map_err(in_words)?;
        self.db.close().await.map_err(in_words)
    }
}

/// Returns how many of the steps this database has.
///
/// # Errors
/// If it has steps that this program does not know.
async fn steps(conn: &DatabaseTransaction) -> anyhow::Result<u32> {
    let applied = match Migrator::get_applied_migrations_read_only(conn).await {
        // The library says so of a step that it does not know.
        Err(DbErr::Custom(_)) => bail!("a newer Latchkey has changed it; use that one"),
        applied => applied.map_err(in_words)?,
    };
    let known = Migrator::get_migration_files();
    if applied.iter().zip(&known).any(|(applied, known)| applied.name() != known.name()) {
        bail!("its tables are between two versions; run `latchkey migrate` with it first");
    }
    Ok(u32::try_from(applied.len())?)
}

/// A copy with all rows, which is not seen before [`Copied::publish`]. If it is dropped, nothing of it stays.
#[derive(Debug)]
pub struct Copied {
    tx: DatabaseTransaction,
    db: Db,
    file: Option<NewFile>,
    /// What was read.
    pub read: Survey,
}

/// Copies all tables into a SQLite file that does not exist, or into a PostgreSQL database that has no rows of Latchkey.
///
/// # Errors
/// One line that says what to do. The target is as before then.
pub async fn fill(from: &Source, to: &DatabaseUrl) -> anyhow::Result<Copied> {
    match to.file() {
        Some(file) => {
            refuse_existing(file, &format!("put it aside first, as by: mkdir old && mv {}* old/", file.display()))?;
            fill_file(from, file).await
        }
        None => fill_database(from, to).await,
    }
}

/// As [`fill`], for a file that may take the place of another one.
pub(super) async fn fill_file(from: &Source, file: &Path) -> anyhow::Result<Copied> {
    let file = NewFile::begin(file)?;
    let db = Db::open_new(file.part()).await.map_err(in_words)?;
    let tx = db.begin_alone(Alone::Migrating).await.map_err(in_words)?;
    let read = copy(from, &tx).await?;
    Ok(Copied { tx, db, file: Some(file), read })
}

async fn fill_database(from: &Source, to: &DatabaseUrl) -> anyhow::Result<Copied> {
    let db = Db::open(to).await.map_err(in_words)?;
    let tx = db.begin_alone(Alone::Migrating).await.map_err(in_words)?;
    if db::is_in_use(&tx).await.map_err(in_words)? {
        bail!("a Latchkey uses it; stop all servers first");
    }
    steps(&tx).await?;
    for table in Table::all(&tx).await.map_err(in_words)? {
        if !table.is_empty(&tx).await.map_err(in_words)? {
            bail!("it is not empty, its table {} has rows; name an empty database (createdb)", table.name);
        }
    }
    // Empty tables of another version would not take the rows.
    for name in TABLES.iter().chain(LEFT_OUT).rev() {
        let drop = sea_query::Table::drop().table(Alias::new(*name)).if_exists().take();
        tx.execute(&drop).await.map_err(in_words)?;
    }
    let read = copy(from, &tx).await?;
    Ok(Copied { tx, db, file: None, read })
}

/// Makes the tables of the source's version and copies the rows. Returns what was read.
async fn copy(from: &Source, to: &DatabaseTransaction) -> anyhow::Result<Survey> {
    Migrator::up(to, Some(from.steps)).await.map_err(in_words)?;
    let mut all = vec![];
    for table in Table::all(&from.reading).await.map_err(in_words)? {
        let mut tally = Tally::of(&table);
        while let Some(rows) = tally.read(&from.reading).await.map_err(in_words)? {
            table.insert(to, rows).await.map_err(in_words)?;
        }
        all.push(tally.content());
    }
    Ok(Survey(all))
}

impl Copied {
    /// Returns the transaction, for what else is to be written before the copy is published.
    pub fn conn(&self) -> &DatabaseTransaction {
        &self.tx
    }

    /// Reads every row again, and compares all of them with what was read from the source.
    ///
    /// # Errors
    /// If they differ.
    pub async fn verify(&self) -> anyhow::Result<()> {
        self.read.compare(&Survey::of(&self.tx).await.map_err(in_words)?)
    }

    /// Brings the tables up to this program's version.
    ///
    /// # Errors
    /// If a step fails.
    pub async fn migrate(&self) -> anyhow::Result<()> {
        Migrator::up(&self.tx, None).await.map_err(in_words)
    }

    /// Makes the copy visible. Afterwards it is on the disk.
    ///
    /// # Errors
    /// If it cannot be written. There is no copy then.
    pub async fn publish(self) -> anyhow::Result<()> {
        match self.end().await? {
            Some(file) => file.publish(),
            None => Ok(()),
        }
    }

    /// Commits. A file still has its other name.
    pub(super) async fn end(self) -> anyhow::Result<Option<NewFile>> {
        self.tx.commit().await.map_err(in_words)?;
        self.db.close().await.map_err(in_words)?;
        Ok(self.file)
    }
}

/// Returns an error with what an operator reads of it.
pub(super) fn in_words(error: DbErr) -> anyhow::Error {
    let why = db::why(&error);
    if why.contains("database or disk is full") {
        return anyhow::Error::msg("the disk is full; make room, or name another folder").context(why);
    }
    anyhow::Error::msg(why)
}
