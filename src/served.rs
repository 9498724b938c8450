//! The file that a server writes into the data folder for commands, which run in a shell without its settings. It holds no
//! secrets.

use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use time::OffsetDateTime;

/// The file in the data folder.
const FILE: &str = "server.json";

/// What commands need to know of the server that started last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The site's address.
    pub public_url: String,
    /// The domain that it shares with apps behind a proxy.
    #[serde(default)]
    pub gate_domain: Option<String>,
    /// The secrets that it still has and that signed with it or a server before it, newest first.
    pub secrets: Vec<Signing>,
}

/// A secret that signs or has signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signing {
    /// The name of its key in the cookies that it signs (`kid`).
    pub id: String,
    /// When a server first started that signs with it.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

impl Served {
    /// Returns what the last server with this data folder wrote, or `None` if nothing can be read.
    pub fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(data_dir.join(FILE)).ok()?).ok()
    }

    /// Writes the file for a server that starts `now` with the secrets `ids`, of which the first one signs.
    ///
    /// # Errors
    /// When the file cannot be written. The old file stays then.
    pub fn write<'a>(
        data_dir: &Path,
        (public_url, gate_domain): (&str, Option<&str>),
        ids: impl IntoIterator<Item = &'a str>,
        now: OffsetDateTime,
    ) -> io::Result<()> {
        let before = Self::read(data_dir).map(|served| served.secrets).unwrap_or_default();
        let ids: Vec<_> = ids.into_iter().collect();
        let mut secrets: Vec<_> = before.into_iter().filter(|secret| ids.contains(&secret.id.as_str())).collect();
        if let Some(newest) = ids.first().filter(|id| secrets.first().is_none_or(|secret| secret.id != **id)) {
            secrets.retain(|secret| secret.id != **newest);
            secrets.insert(0, Signing { id: (*newest).to_owned(), since: now });
        }
        let (public_url, gate_domain) = (public_url.to_owned(), gate_domain.map(str::to_owned));
        let written = Self { public_url, gate_domain, secrets };
        let mut file = NamedTempFile::new_in(data_dir)?;
        serde_json::to_writer_pretty(&mut file, &written)?;
        writeln!(file)?;
        file.persist(data_dir.join(FILE))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_signs_since_the_first_start_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (data, second) = (folder.path(), time::Duration::SECOND);
        let since = |served: Option<Served>| -> Vec<(String, i64)> {
            let secrets = served.expect("written").secrets.into_iter();
            secrets.map(|secret| (secret.id, secret.since.unix_timestamp())).collect()
        };
        let at = |ids: &[&str], now: i32| {
            let now = OffsetDateTime::UNIX_EPOCH + second * now;
            Served::write(data, ("http://localhost:3000", None), ids.iter().copied(), now).expect("written");
            since(Served::read(data))
        };
        let named = |list: &[(&str, i64)]| list.iter().map(|(id, at)| ((*id).to_owned(), *at)).collect::<Vec<_>>();
        assert_eq!(Served::read(data), None);
        assert_eq!(at(&["a"], 1), named(&[("a", 1)]));
        assert_eq!(at(&["a"], 2), named(&[("a", 1)]));
        assert_eq!(at(&["b", "a"], 3), named(&[("b", 3), ("a", 1)]));
        assert_eq!(at(&["d", "c", "b", "a"], 4), named(&[("d", 4), ("b", 3), ("a", 1)]), "c has never signed");
        assert_eq!(at(&["b", "d"], 5), named(&[("b", 5), ("d", 4)]), "an older one that signs again");
        assert_eq!(at(&["d"], 6), named(&[("d", 4)]));
    }
}
