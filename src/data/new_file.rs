//! A file that is seen only when it is whole.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::OFlags;
use rustix::process::geteuid;

/// A SQLite file that has the name `FILE.part` until it is published. It is deleted if it is not published. After a kill
/// `FILE.part` stays, and the next attempt begins it anew.
#[derive(Debug)]
pub(super) struct NewFile {
    file: PathBuf,
    part: PathBuf,
    /// Locked, so that two processes do not write the same file. It stays open until the end: to close any handle of a
    /// SQLite file ends SQLite's own locks on it (POSIX).
    handle: Option<File>,
}

impl NewFile {
    /// Begins an empty file, which only our own user can read.
    pub(super) fn begin(file: &Path) -> anyhow::Result<Self> {
        let part = file.with_added_extension("part");
        let name = part.display();
        let mut options = File::options();
        // In a folder that others can write into, a link of this name could lead to another file of ours.
        let no_link = i32::try_from(OFlags::NOFOLLOW.bits())?;
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(no_link);
        let handle = options.open(&part).with_context(|| format!("cannot write {name}"))?;
        if handle.try_lock().is_err() {
            bail!("another process is writing {name}");
        }
        if handle.metadata()?.uid() != geteuid().as_raw() {
            bail!("{name} belongs to another user; delete it");
        }
        handle
            .set_permissions(Permissions::from_mode(0o600))
            .and_then(|()| handle.set_len(0))
            .with_context(|| format!("cannot write {name}"))?;
        Ok(Self { file: file.to_owned(), part, handle: Some(handle) })
    }

    /// Returns where the file is until it is published.
    pub(super) fn part(&self) -> &Path {
        &self.part
    }

    /// Writes the file to the disk and gives it its name, in place of one that has the name.
    pub(super) fn publish(mut self) -> anyhow::Result<()> {
        let name = self.file.display();
        let handle = self.handle.take().expect("it is published once");
        let publish = || -> io::Result<()> {
            handle.sync_all()?;
            fs::rename(&self.part, &self.file)?;
            File::open(folder_of(&self.file))?.sync_all()
        };
        publish().with_context(|| format!("cannot write {name}"))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.part); // it is gone already if it was published
    }
}

/// Refuses a file that exists, and one that would get the journal of an earlier database: SQLite would take an old
/// `latchkey.db-wal` for changes to the new file. The error ends with the `advice`.
pub(super) fn refuse_existing(file: &Path, advice: &str) -> anyhow::Result<()> {
    for path in [file.to_owned(), suffixed(file, "-wal"), suffixed(file, "-journal")] {
        match path.symlink_metadata() {
            Ok(_) => bail!("{} exists; {advice}", path.display()),
            Err(why) if why.kind() == ErrorKind::NotFound => {}
            Err(why) => bail!("cannot look at {}: {why}", path.display()),
        }
    }
    Ok(())
}

fn suffixed(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Returns the folder that a file is in.
pub(super) fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
