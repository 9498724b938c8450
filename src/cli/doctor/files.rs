//! Looks at the data folder, the secret and the TLS files: whether they are there and closed to others, and whether the disk
//! has room.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};
use rustix::process::geteuid;

use super::super::open::{ELSEWHERE, absolute};
use super::{Finding, fail, ok, warn};
use crate::clock::Clock;
use crate::config::{SecretSource, Settings};
use crate::data::Folder;
use crate::net::Tls;
use crate::secret::Secret;

/// The room on the disk below which the database may soon be unable to write, in MiB.
const FULL: u64 = 64;
/// The room below which an operator should act, in MiB.
const NEARLY_FULL: u64 = 1024;

/// Looks at the files. Returns the secret, if it can be read.
pub(super) fn check(settings: &Settings) -> (Vec<Finding>, Option<Secret>) {
    let dir = &settings.storage.data_dir;
    let mut found = vec![folder(dir).unwrap_or_else(|why| {
        fail("files", format!("there is no data folder at {} ({why}); {ELSEWHERE}", absolute(dir)))
    })];
    found.extend(settings.storage.database.file().and_then(database));
    let (line, secret) = secret(&settings.storage.secret);
    found.push(line);
    if let Some(files) = &settings.tls {
        found.push(match Tls::open(&files.cert, &files.key) {
            Ok(_) => ok("files", format!("the certificate in {} and its key fit", files.cert.display())),
            Err(why) => fail("files", format!("{why:#}")),
        });
    }
    found.extend(disk(dir));
    found.extend(settings.storage.backups.as_ref().map(backups));
    (found, secret)
}

fn folder(dir: &Path) -> io::Result<Finding> {
    let (about, name) = (fs::metadata(dir)?, absolute(dir));
    let owner = about.uid();
    Ok(if about.mode() & 0o022 != 0 {
        fail("files", format!("others can write into {name}, and replace the secret; run chmod go-w {name}"))
    } else if access(dir, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        fail(
            "files",
            format!("this user cannot write into {name}, which is of user {owner}; run this as the server's user"),
        )
    } else if geteuid().as_raw() != owner {
        warn("files", format!("{name} is of user {owner}; run this as that user, who sees what the server sees"))
    } else {
        ok("files", format!("{name} is closed to other users"))
    })
}

/// Returns a line if others can read the SQLite database.
fn database(file: &Path) -> Option<Finding> {
    let mode = |path: &Path| fs::metadata(path).map_or(0, |about| about.mode());
    let folder = file.parent().unwrap_or(Path::new("."));
    let open = mode(file) & 0o044 != 0 && mode(folder) & 0o011 != 0;
    let name = absolute(file);
    open.then(|| {
        warn(
            "files",
            format!("others can read {name}, and with it every address and password hash; run chmod 600 {name}"),
        )
    })
}

fn secret(source: &SecretSource) -> (Finding, Option<Secret>) {
    match source {
        SecretSource::Given(secret) => (ok("secret", "given in LATCHKEY_SECRET"), Some(secret.clone())),
        SecretSource::File(file) => match Secret::load(file) {
            Ok(secret) => (ok("secret", format!("{} is closed to others", absolute(file))), Some(secret)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                (fail("secret", format!("there is no secret at {}; {ELSEWHERE}", absolute(file))), None)
            }
            Err(why) => (fail("secret", format!("{}: {why}", absolute(file))), None),
        },
    }
}

fn disk(dir: &Path) -> Option<Finding> {
    let disk = statvfs(dir).ok()?;
    let left = disk.f_bavail.saturating_mul(disk.f_frsize) >> 20;
    let says = format!("{left} MiB are left for {}", absolute(dir));
    Some(if left < FULL {
        fail("disk", format!("{says}; the database cannot write soon: make room"))
    } else if left < NEARLY_FULL {
        warn("disk", format!("{says}; make room, also for backups"))
    } else {
        ok("disk", says)
    })
}

/// Looks at the age of the newest backup that the server has made. The server makes the first one when it starts.
fn backups(folder: &Folder) -> Finding {
    let name = absolute(&folder.path);
    let look = "look for “backup” in the server's log";
    let now = Clock::default().now();
    match folder.newest(now) {
        Err(why) => warn("backup", format!("{name} cannot be read: {why}")),
        Ok(None) => warn("backup", format!("there is none in {name} yet; {look}")),
        Ok(Some(begun)) => {
            let age = now - begun;
            let says = format!("the newest in {name} is {} h old", age.whole_hours());
            if age > folder.every * 2 { warn("backup", format!("{says}; {look}")) } else { ok("backup", says) }
        }
    }
}
