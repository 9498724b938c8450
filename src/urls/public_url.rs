//! The address at which users find the site.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use crate::lan;

/// The site's own origin, such as `https://accounts.example.com`.
///
/// Links in emails are built from it alone. If they were built from the `Host` header, an attacker could make us email a
/// user a link to the attacker's server with a working reset token (host header poisoning).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
    host: String,
    port: u16,
    https: bool,
    loopback: bool,
    private: bool,
}

impl PublicUrl {
    /// Returns the origin without a trailing slash, as browsers send it in `Origin`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the host's name, without the port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns whether browsers reach the site over TLS. Cookies are `Secure` then.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Returns whether only this machine can reach the site at this address.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// Returns whether browsers trust the connection to the site (W3C, Secure Contexts, 3.1). If not, they ignore some
    /// headers, such as `Cross-Origin-Opener-Policy` and `Clear-Site-Data`, and write an error to the console for each.
    pub fn is_trustworthy(&self) -> bool {
        self.https || self.loopback
    }

    /// Returns whether the host is on a private network, by its address or its name, and not on loopback.
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Returns whether the authority of a request names the site by its host and port, in any spelling. A site on loopback
    /// has every name of the loopback, with any port: users mix them, and none of them leads to another machine.
    pub fn is_at(&self, authority: &str) -> bool {
        if self.origin.split_once("://").is_some_and(|(_, own)| own == authority) {
            return true;
        }
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"-._:[]".contains(&c);
        let scheme = if self.https { "https" } else { "http" };
        match format!("{scheme}://{authority}").parse::<Self>() {
            Ok(named) if authority.bytes().all(plain) => {
                named.loopback && self.loopback || (&named.host, named.port) == (&self.host, self.port)
            }
            _ => false,
        }
    }

    /// Returns the full address of one of our paths.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Returns the full address of a path that takes a token.
    pub fn with_token(&self, path: &str, token: &str) -> String {
        format!("{}{path}?token={token}", self.origin)
    }
}

impl FromStr for PublicUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| "not a URL such as https://accounts.example.com")?;
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err("must begin with http:// or https://"),
        };
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err("must be scheme, host and port only, without a path");
        }
        // A dot at the end says that a name is complete. It is the same name.
        let host = url.host_str().unwrap_or_default();
        let host = host.strip_suffix('.').unwrap_or(host);
        let loopback = match url.host() {
            Some(Host::Domain(_)) => host == "localhost" || host.ends_with(".localhost"),
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => return Err("has no host"),
        };
        Ok(Self {
            origin: url.origin().ascii_serialization(),
            host: host.to_owned(),
            port: url.port_or_known_default().unwrap_or_default(),
            https,
            loopback,
            private: !loopback && lan::is_private(url.host_str().unwrap_or_default()),
        })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::super::LOGIN;
    use super::*;

    #[test]
    fn public_url_knows_its_names() {
        let url: PublicUrl = "https://accounts.example.com".parse().expect("an origin");
        for same in [
            "accounts.example.com",
            "Accounts.Example.COM",
            "accounts.example.com:443",
            "accounts.example.com.",
            "accounts.example.com.:443",
        ] {
            assert!(url.is_at(same), "{same}");
        }
        for other in [
            "",
            "example.com",
            "accounts.example.com:80",
            "accounts.example.com:3000",
            "accounts.example.com..",
            "accounts.example.com.evil.example",
            "evil.example/accounts.example.com",
            "accounts.example.com/",
            "/accounts.example.com",
            "sam@accounts.example.com",
            "accounts%2eexample.com",
            "accounts.example.com, evil.example",
            "accounts\t.example.com",
            "localhost",
            "127.0.0.1",
            "?",
        ] {
            assert!(!url.is_at(other), "{other:?}");
        }
        let odd: PublicUrl = "https://accounts.example.com:8443".parse().expect("an origin");
        assert!(odd.is_at("accounts.example.com:8443") && !odd.is_at("accounts.example.com"));
        for local in ["http://localhost:3000", "http://127.0.0.1:3000", "http://[::1]:3000", "https://a.localhost"] {
            let url: PublicUrl = local.parse().expect("an origin");
            for same in ["localhost", "LOCALHOST:3000", "127.0.0.1:1", "[::1]:3000", "a.b.localhost", "localhost."] {
                assert!(url.is_at(same), "{local}: {same}");
            }
            for other in ["localhost.evil.example", "evil.example:3000", "127.0.0.1.evil.example", "192.0.2.1:3000"] {
                assert!(!url.is_at(other), "{local}: {other}");
            }
        }
    }

    #[test]
    fn public_url_is_an_origin() {
        let url: PublicUrl = "https://Accounts.Example.com/".parse().expect("an origin");
        assert_eq!(url.at(LOGIN), "https://accounts.example.com/login");
        assert!(url.is_https() && !url.is_loopback());
        let local: PublicUrl = "http://127.0.0.1:3000".parse().expect("an origin");
        assert!(!local.is_https() && local.is_loopback());
        for bad in [
            "example.com",
            "ftp://example.com",
            "https://example.com/base",
            "https://u:p@example.com",
            "https://e.com?x",
        ] {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
    }
}
