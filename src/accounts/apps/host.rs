//! Where an app stands that knows nothing of log-ins: behind a proxy, which asks who is there.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// A host with the port, unless that is the usual one: `wiki.example.com`, `wiki.example.com:8443`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AppHost(String);

impl AppHost {
    /// Returns the host and the port, in small letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the host without the port.
    pub fn name(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(name, _)| name)
    }
}

impl FromStr for AppHost {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "is not a host such as wiki.example.com";
        // Each request to an app names its host, mostly in this form, and the URL parser takes a while.
        if is_plain_name(text) {
            return Ok(Self(text.to_owned()));
        }
        // What the URL parser would take for a path, a user or a blank is no part of a host. `%2e` would be a dot.
        if text.is_empty() || !text.chars().all(|c| c.is_alphanumeric() || "-._:".contains(c)) {
            return Err(WANTED);
        }
        let url = Url::parse(&format!("https://{text}")).map_err(|_| WANTED)?;
        let Some(Host::Domain(name)) = url.host() else {
            return Err("is an address; browsers share a cookie below a domain only");
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.split('.').any(str::is_empty) || text.ends_with(':') {
            return Err(WANTED);
        }
        // 443 is left out by the parser. Nobody has another app at the other usual port of the same host.
        Ok(match url.port() {
            None | Some(80) => Self(name.to_owned()),
            Some(port) => Self(format!("{name}:{port}")),
        })
    }
}

/// Returns whether a text is a name that the URL parser leaves as it is: small letters, no port, no address, no punycode.
fn is_plain_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let is_name = text.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_lowercase()));
    text.bytes().all(plain) && is_name && !text.contains("xn--") && !text.split('.').any(str::is_empty)
}

impl fmt::Display for AppHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_short_way_is_as_the_long_way(text in r"([a-z0-9.x-]|0x|xn--|localhost|\.){0,8}") {
            if is_plain_name(&text) {
                let url = Url::parse(&format!("https://{text}")).expect("a name");
                prop_assert_eq!(url.host(), Some(Host::Domain(text.as_str())));
            }
        }
    }

    #[test]
    fn a_host_is_told_in_any_spelling() {
        for (text, host, name) in [
            ("Wiki.Example.COM", "wiki.example.com", "wiki.example.com"),
            ("wiki.example.com.", "wiki.example.com", "wiki.example.com"),
            ("wiki.example.com:443", "wiki.example.com", "wiki.example.com"),
            ("wiki.example.com.:80", "wiki.example.com", "wiki.example.com"),
            ("wiki.example.com:8443", "wiki.example.com:8443", "wiki.example.com"),
            ("wiki.localhost:08443", "wiki.localhost:8443", "wiki.localhost"),
        ] {
            let parsed: AppHost = text.parse().expect(text);
            assert_eq!((parsed.as_str(), parsed.name()), (host, name), "{text}");
        }
        for bad in [
            "",
            ".",
            "..",
            "wiki.example.com..",
            ".wiki.example.com",
            "a..b",
            "wiki.example.com:",
            "wiki.example.com:99999",
            "wiki.example.com:80:80",
            "wiki.example.com/",
            "wiki.example.com,evil.example",
            "wiki.example.com evil.example",
            "sam@wiki.example.com",
            "wiki%2eexample.com",
            "wiki.example.com\\@evil.example",
            "https://wiki.example.com",
            "127.0.0.1",
            "0x7f.1",
            "[::1]",
            "*.example.com",
            "wiki.example.com\0",
        ] {
            assert!(bad.parse::<AppHost>().is_err(), "{bad:?}");
        }
    }
}
