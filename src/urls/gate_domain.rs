//! The domain that the site shares with applications behind a proxy.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// A domain such as `example.com`. The forward cookie is for it and for all hosts below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateDomain(String);

impl GateDomain {
    /// Returns the domain, in small letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether a host, without its port, is the domain or below it.
    pub fn has(&self, host: &str) -> bool {
        host.strip_suffix(self.as_str()).is_some_and(|below| below.is_empty() || below.ends_with('.'))
    }
}

impl FromStr for GateDomain {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "is not a domain such as example.com";
        let plain = |c: char| c.is_alphanumeric() || "-._".contains(c);
        // Browsers ignore a dot at the beginning (RFC 6265, 5.2.3), so operators may be used to it.
        let name = text.strip_prefix('.').unwrap_or(text);
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.split('.').any(str::is_empty) || !name.chars().all(plain) {
            return Err(WANTED);
        }
        let url = Url::parse(&format!("https://{name}")).map_err(|_| WANTED)?;
        let Some(Host::Domain(name)) = url.host() else {
            return Err("is an address; browsers share a cookie below a domain only, such as example.com");
        };
        if !name.contains('.') {
            return Err(
                "needs a dot, as in example.com or example.localhost: browsers share no cookie below a name without one",
            );
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for GateDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_itself_and_the_hosts_below_it() {
        let domain: GateDomain = ".Example.COM.".parse().expect("a domain");
        assert_eq!(domain.as_str(), "example.com");
        for inside in ["example.com", "wiki.example.com", "a.b.example.com"] {
            assert!(domain.has(inside), "{inside}");
        }
        for outside in ["", "com", "notexample.com", "example.com.evil.example", "wiki-example.com", "example.org"] {
            assert!(!domain.has(outside), "{outside}");
        }
        assert_eq!("bücher.example".parse::<GateDomain>().expect("a domain").as_str(), "xn--bcher-kva.example");
        for bad in [
            "",
            ".",
            "com",
            "localhost",
            "127.0.0.1",
            "0x7f.1",
            "[::1]",
            "a..b",
            "a b.c",
            "a/b.c",
            "a.b:80",
            "a.b;c",
            "*.a.b",
        ] {
            assert!(bad.parse::<GateDomain>().is_err(), "{bad}");
        }
    }
}
