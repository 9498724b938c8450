//! The operator's secret: what it must be, and the file that holds it.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;
use zxcvbn::zxcvbn;

use crate::chance;

/// The shortest secret that is taken, in characters: 32 random bytes are 43 in base64.
pub const MIN: usize = 32;
/// What examples say; of ten million random secrets, one has such a word by chance.
const PLACEHOLDERS: [&str; 10] = [
    "change",
    "default",
    "example",
    "insecure",
    "latchkey",
    "passphrase",
    "password",
    "placeholder",
    "replace",
    "secret",
];

/// The operator's secret, or several, newest first: the first signs, all of them verify.
#[derive(Clone)]
pub struct Secret(Vec<Zeroizing<String>>);

impl Secret {
    /// Reads the file, or makes it with a fresh secret when there is none.
    ///
    /// # Errors
    /// As [`Secret::load`], and when the file cannot be made.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        if !path.exists() {
            // A start that dies half-way leaves no empty secret; of two at once, one makes it and both read it.
            let beside = Self(vec![fresh()]).write_beside(path)?;
            match beside.persist_noclobber(path) {
                Err(error) if error.error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
                _ => File::open(folder_of(path))?.sync_all()?,
            }
        }
        Self::load(path)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, others can read it, or it holds no secret that will do.
    pub fn load(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        refuse_open(&file, path)?;
        let mut text = Zeroizing::new(String::new());
        file.read_to_string(&mut text)?;
        text.parse().map_err(|why: &str| Error::new(ErrorKind::InvalidData, why))
    }

    /// Puts a fresh secret before those in the file. Returns all of them.
    ///
    /// # Errors
    /// As [`Secret::load`], and when the file cannot be written.
    pub fn rotate(path: &Path) -> io::Result<Self> {
        rewrite(path, |secrets| secrets.insert(0, fresh()))
    }

    /// Drops all in the file but the newest `keep`. Returns those.
    ///
    /// # Errors
    /// As [`Secret::rotate`].
    pub fn keep(path: &Path, keep: usize) -> io::Result<Self> {
        rewrite(path, |secrets| secrets.truncate(keep))
    }

    /// The secrets, newest first; at least one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.0.iter().map(|one| one.as_bytes())
    }

    /// A file beside `path`, for our own user only, that holds these secrets and is on the disk for good.
    fn write_beside(&self, path: &Path) -> io::Result<NamedTempFile> {
        let mut beside = NamedTempFile::new_in(folder_of(path))?;
        for secret in &self.0 {
            beside.write_all(secret.as_bytes())?;
            beside.write_all(b"\n")?;
        }
        beside.as_file().sync_all()?;
        Ok(beside)
    }
}

/// Refuses a file that others can read or write.
///
/// As PostgreSQL has it for its TLS key: what root owns may be for a group, which is how root hands a secret to a service.
///
/// # Errors
/// What to do about it, when they can.
pub fn refuse_open(file: &File, path: &Path) -> io::Result<()> {
    let about = file.metadata()?;
    let others = if about.uid() == 0 { 0o037 } else { 0o077 };
    if about.mode() & others != 0 {
        let why = format!("it is open to others; run: chmod 600 {}", path.display());
        return Err(Error::new(ErrorKind::PermissionDenied, why));
    }
    Ok(())
}

/// Changes the file in one step: whoever reads it meanwhile, or after a crash, finds the old secrets or the new.
fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<Zeroizing<String>>)) -> io::Result<Secret> {
    // The file itself: a symlink to it stays one.
    let path = fs::canonicalize(path)?;
    let folder = File::open(folder_of(&path))?;
    // Until the end of this function. Of two at once, the second begins with what the first has written.
    folder.lock()?;
    let mut secret = Secret::load(&path)?;
    change(&mut secret.0);
    let beside = secret.write_beside(&path)?;
    // An operator who is root leaves it to the service that it belongs to.
    let before = fs::metadata(&path)?;
    fchown(beside.as_file(), Some(before.uid()), Some(before.gid()))?;
    beside.as_file().set_permissions(before.permissions())?;
    beside.persist(&path)?;
    folder.sync_all()?;
    Ok(secret)
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn fresh() -> Zeroizing<String> {
    Zeroizing::new(URL_SAFE_NO_PAD.encode(chance::bytes::<32>()))
}

impl FromStr for Secret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|one| !one.is_empty());
        let all: Vec<_> = all.map(|one| Zeroizing::new(one.to_owned())).collect();
        if all.is_empty() {
            return Err("holds no secret; try: openssl rand -base64 32");
        }
        if all.iter().any(|one| one.chars().count() < MIN) {
            return Err("holds a secret under 32 characters; try: openssl rand -base64 32");
        }
        if all.iter().any(|one| can_be_guessed(one)) {
            return Err("holds a secret that can be guessed; try: openssl rand -base64 32");
        }
        Ok(Self(all))
    }
}

/// Whether it is a placeholder, one thing over and over, or a walk over the keyboard. A cookie is enough to try
/// guesses on, at home and unseen.
fn can_be_guessed(secret: &str) -> bool {
    let lower = Zeroizing::new(secret.to_lowercase());
    let start: Zeroizing<String> = Zeroizing::new(lower.chars().take(MIN).collect());
    // zxcvbn counts to 2^64, which is more than anybody tries.
    PLACEHOLDERS.iter().any(|word| lower.contains(word))
        || !is_mixed(secret) && zxcvbn(&start, &[]).guesses() < u64::MAX
}

/// Whether it is mixed like 32 random bytes in base64, such as ours and those of `openssl rand`. No person types so.
/// The rest is for zxcvbn, whose lists of words take 16 ms and 12 MB of every start.
fn is_mixed(secret: &str) -> bool {
    let kind = |c: char| (c.is_ascii_uppercase(), c.is_ascii_lowercase(), c.is_ascii_digit());
    let kinds: Vec<_> = secret.chars().map(kind).collect();
    let changes = kinds.windows(2).filter(|two| two[0] != two[1]).count();
    let distinct: HashSet<char> = secret.chars().collect();
    kinds.len() >= 43 && changes * 5 >= kinds.len() * 2 && distinct.len() >= 20
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_guessed_is_refused_and_nothing_is_printed() {
        for bad in [
            "",
            "short",
            "00000000000000000000000000000000",
            "0123456789abcdef0123456789abcdef",
            "old-old-old-old-old-old-old-old-old-old-old",
            "qwertyuiopasdfghjklzxcvbnm1234567890",
            "3f9a3f9a3f9a3f9a3f9a3f9a3f9a3f9a",
            "changeme-changeme-changeme-changeme",
            "Please-Change-This-In-Production-9b1c",
            "your-256-bit-secret-goes-here-please",
            "REPLACE_ME_WITH_OPENSSL_RAND_BASE64_32",
            "Qwertyuiopasdfghjklzxcvbnm1234567890QWERTYUIOP",
            "aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3",
        ] {
            assert!(bad.parse::<Secret>().is_err(), "{bad}");
            assert!(format!("{} {bad}", *fresh()).trim().parse::<Secret>().is_err() || bad.is_empty(), "{bad}, second");
        }
    }

    #[test]
    fn what_is_random_is_taken_and_not_printed() {
        for _ in 0..100 {
            let hex: String = chance::bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
            for good in [fresh(), Zeroizing::new(hex)] {
                let secret: Secret = good.parse().unwrap_or_else(|why| panic!("{why}: {}", *good));
                assert_eq!(format!("{secret:?}"), "Secret(…)");
            }
        }
    }
}
