//! The operator's secret: the rules for it, and the file that holds it.

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

use crate::chance;

/// The shortest secret that is taken, in characters. 32 random bytes are 43 characters in base64.
const MIN: usize = 32;
/// Words of placeholders in examples. Of ten million random secrets, one has such a word by chance.
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

/// The operator's secrets, newest first. The first signs, and all of them verify.
#[derive(Clone)]
pub struct Secret(Vec<Zeroizing<String>>);

impl Secret {
    /// Reads the file, or makes it with a fresh secret if there is none.
    ///
    /// # Errors
    /// Those of [`Secret::load`], and those of making the file.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        if !path.exists() {
            // A start that dies half-way must not leave an empty secret. Of two starts at once, one makes the file and
            // both read it.
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
    /// If the file cannot be read, if others can read it, or if it holds no secret that is good enough.
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
    /// Those of [`Secret::load`], and those of writing the file.
    pub fn rotate(path: &Path) -> io::Result<Self> {
        rewrite(path, |secrets| secrets.insert(0, fresh()))
    }

    /// Drops all secrets in the file except the newest `keep`. Returns the ones that are left.
    ///
    /// # Errors
    /// Those of [`Secret::rotate`].
    pub fn keep(path: &Path, keep: usize) -> io::Result<Self> {
        rewrite(path, |secrets| secrets.truncate(keep))
    }

    /// Returns the secrets, newest first. There is at least one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.0.iter().map(|one| one.as_bytes())
    }

    /// Writes these secrets into a file beside `path`, which only our own user can read. It is on the disk when this
    /// returns.
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
/// The rule is PostgreSQL's for its TLS key: a group may read a file that root owns, which is how root gives a secret to a
/// service.
///
/// # Errors
/// If others can read or write it. The error says what to do.
pub fn refuse_open(file: &File, path: &Path) -> io::Result<()> {
    let about = file.metadata()?;
    let others = if about.uid() == 0 { 0o037 } else { 0o077 };
    if about.mode() & others != 0 {
        let why = format!("it is open to others; run: chmod 600 {}", path.display());
        return Err(Error::new(ErrorKind::PermissionDenied, why));
    }
    Ok(())
}

/// Changes the file in one step: a program that reads it meanwhile, or after a crash, finds the old secrets or the new.
fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<Zeroizing<String>>)) -> io::Result<Secret> {
    // A symlink to the file stays a symlink.
    let path = fs::canonicalize(path)?;
    let folder = File::open(folder_of(&path))?;
    // The lock ends with this function. Of two changes at once, the second begins with what the first has written.
    folder.lock()?;
    let mut secret = Secret::load(&path)?;
    change(&mut secret.0);
    let beside = secret.write_beside(&path)?;
    // If root runs this, the file still belongs to the service afterwards.
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
        if all.iter().any(|one| is_placeholder(one)) {
            return Err("holds a secret that can be guessed; try: openssl rand -base64 32");
        }
        Ok(Self(all))
    }
}

/// Returns whether the secret has a word of a documentation's example. An attacker who has one cookie can test guesses
/// on it offline, where no limit counts them.
fn is_placeholder(secret: &str) -> bool {
    let lower = Zeroizing::new(secret.to_lowercase());
    PLACEHOLDERS.iter().any(|word| lower.contains(word))
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
    fn a_secret_that_is_short_or_a_placeholder_is_refused() {
        for bad in [
            "",
            "short",
            "changeme-changeme-changeme-changeme",
            "Please-Change-This-In-Production-9b1c",
            "your-256-bit-secret-goes-here-please",
            "REPLACE_ME_WITH_OPENSSL_RAND_BASE64_32",
        ] {
            assert!(bad.parse::<Secret>().is_err(), "{bad}");
            assert!(format!("{} {bad}", *fresh()).trim().parse::<Secret>().is_err() || bad.is_empty(), "{bad}, second");
        }
    }

    #[test]
    fn a_random_secret_is_taken_and_not_printed() {
        for _ in 0..100 {
            let hex: String = chance::bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
            for good in [fresh(), Zeroizing::new(hex)] {
                let secret: Secret = good.parse().unwrap_or_else(|why| panic!("{why}: {}", *good));
                assert_eq!(format!("{secret:?}"), "Secret(…)");
            }
        }
    }
}
