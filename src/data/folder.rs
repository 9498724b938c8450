//! A folder of backups, each named by the time at which it was begun.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

/// The name of a backup, such as `latchkey-20261127T113304Z.db`.
const NAME: &[BorrowedFormatItem<'_>] = format_description!("latchkey-[year][month][day]T[hour][minute][second]Z.db");

/// Where a server puts backups, how often, and how many stay.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// How old the newest backup is when the next one is made.
    pub every: Duration,
    /// How many backups stay.
    pub keep: usize,
}

impl Folder {
    /// Returns the file for a backup that begins now.
    pub fn file(&self, now: OffsetDateTime) -> PathBuf {
        self.path.join(now.format(NAME).unwrap_or_default())
    }

    /// Returns when the newest backup was begun. A backup gets its name only when it is whole, so each of them is good.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn newest(&self, now: OffsetDateTime) -> io::Result<Option<OffsetDateTime>> {
        Ok(self.until(now)?.last().map(|(at, _)| *at))
    }

    /// Deletes the oldest backups that are too many, and what a server that was killed has left of one that was not done.
    /// Files with other names stay.
    ///
    /// # Errors
    /// If a file cannot be deleted.
    pub fn tidy(&self, now: OffsetDateTime) -> io::Result<()> {
        let all = self.until(now)?;
        let too_many = all.len().saturating_sub(self.keep);
        for (_, file) in &all[..too_many] {
            fs::remove_file(file)?;
        }
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            // Another server may be writing one of these.
            let is_left = || Some(path.extension()? == "part" && at(&path.with_extension(""))? < all.last()?.0);
            if is_left() == Some(true) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Returns the backups that were begun until now, oldest first. One that was made while the clock was ahead would count as
    /// the newest until then, and each backup made meanwhile as one too many.
    fn until(&self, now: OffsetDateTime) -> io::Result<Vec<(OffsetDateTime, PathBuf)>> {
        let mut all = vec![];
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            all.extend(at(&path).filter(|at| *at <= now).map(|at| (at, path)));
        }
        all.sort();
        Ok(all)
    }
}

/// Returns the time in the name of a backup.
fn at(path: &Path) -> Option<OffsetDateTime> {
    Some(PrimitiveDateTime::parse(path.file_name()?.to_str()?, NAME).ok()?.assume_utc())
}
