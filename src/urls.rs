//! Every path, written once, and the two types that keep addresses honest: [`PublicUrl`] for what
//! goes out in a letter, [`Next`] for what comes back from a form.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use crate::lan;

pub const HOME: &str = "/";
pub const SIGNUP: &str = "/signup";
pub const SIGNUP_SENT: &str = "/signup/sent";
pub const SIGNUP_RESEND: &str = "/signup/resend";
pub const SIGNUP_CONFIRM: &str = "/signup/confirm";
pub const LOGIN: &str = "/login";
pub const LOGOUT: &str = "/logout";
pub const PROFILE: &str = "/profile";
pub const PROFILE_NAME: &str = "/profile/name";
pub const PROFILE_LANGUAGE: &str = "/profile/language";
pub const PROFILE_PASSWORD: &str = "/profile/password";
pub const SECURITY: &str = "/profile/security";
pub const SECURITY_LOG_OUT: &str = "/profile/security/log-out";
pub const NOT_ME: &str = "/not-me";
pub const NOT_ME_DONE: &str = "/not-me/done";
pub const FORGOT_PASSWORD: &str = "/forgot-password";
pub const FORGOT_PASSWORD_SENT: &str = "/forgot-password/sent";
pub const RESET_PASSWORD: &str = "/reset-password";
pub const CHANGE_PASSWORD: &str = "/.well-known/change-password";
pub const DEV_MAILBOX: &str = "/dev/mailbox";
pub const DEV_MAILBOX_JSON: &str = "/dev/mailbox.json";
pub const DEV_MAILBOX_LETTER: &str = "/dev/mailbox/{id}";
pub const DEV_MAILBOX_HTML: &str = "/dev/mailbox/{id}/html";
pub const USERS: &str = "/users/";
pub const USERS_ME: &str = "/users/me/";
pub const TOKEN: &str = "/token";
pub const API_RESET_PASSWORD: &str = "/reset_password/";
pub const API_COMPLETE_RESET_PASSWORD: &str = "/complete_reset_password/";
pub const DOCS: &str = "/docs";
pub const OPENAPI: &str = "/openapi.json";
pub const HEALTHZ: &str = "/healthz";
pub const READYZ: &str = "/readyz";
pub const METRICS: &str = "/metrics";
pub const FAVICON: &str = "/favicon.ico";
pub const STATIC: &str = "/static/";
pub const STATIC_FILE: &str = "/static/{name}";

/// The site's own origin, such as `https://accounts.example.com`.
///
/// Links in letters are built from this alone. Built from the `Host` header, anybody could make us mail
/// a working reset token to a link on their own server (host header poisoning).
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
    /// The origin without a trailing slash, as browsers send it in `Origin`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The host's name, without the port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether browsers reach us over TLS, which is when cookies are `Secure`.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Whether only this machine can reach us under this address.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// Returns whether browsers trust the way to us (W3C, Secure Contexts, 3.1). Elsewhere they ignore some headers, such as
    /// `Cross-Origin-Opener-Policy` and `Clear-Site-Data`, and write an error to the console for each.
    pub fn is_trustworthy(&self) -> bool {
        self.https || self.loopback
    }

    /// Returns whether the host is on a private network, by its address or its name, and not on loopback.
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Whether this, from a request, names the site: its host and port, as browsers write them or otherwise. On
    /// loopback every name of the loopback is one, whatever the port; people mix them, and none leads elsewhere.
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

    /// The full address of one of our paths.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// The full address of a path that takes a token.
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
        // A dot at the end says that a name is whole. It is the same name.
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

/// Where to go after the log-in: a path on this site and nothing else.
///
/// An open redirect would let a phisher send people through our own log-in page to theirs (OWASP,
/// Unvalidated Redirects and Forwards). Browsers read `//host` and `/\host` as another site and drop tabs
/// and line breaks from addresses, so those are refused by their looks, before the URL parser has a say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next(String);

impl Next {
    /// The longest path that is carried along, in bytes.
    const MAX: usize = 512;

    /// The path, if `text` is one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
        if text.len() > Self::MAX || !text.starts_with('/') || text.starts_with("//") || text.contains(odd) {
            return None;
        }
        let base = Url::parse("http://latchkey.invalid").ok()?;
        let url = base.join(text).ok()?;
        if url.origin() != base.origin() || url.path().starts_with("//") {
            return None;
        }
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        // Once more, for `<` has become `%3C`: what the form brings back is parsed again.
        (path.len() <= Self::MAX).then_some(Self(path))
    }

    /// The path and query, safe to put into `Location`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn next_keeps_local_paths() {
        for path in ["/", "/profile", "/profile?tab=1", "/a/b%20c", "/%2f%2fevil.example", "/x?u=https://a.example"] {
            assert_eq!(Next::parse(path).expect(path).as_str(), path);
        }
        assert_eq!(Next::parse("/资料").expect("local").as_str(), "/%E8%B5%84%E6%96%99");
    }

    #[test]
    fn next_refuses_other_sites() {
        let (long, long_encoded) = (format!("/{}", "a".repeat(600)), format!("/{}", "<".repeat(300)));
        for text in [
            "",
            "profile",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\n/evil.example",
            " /profile",
            "/a\\b",
            "///evil.example",
            "/.//evil.example",
            "/a/..//evil.example",
            &long,
            &long_encoded,
        ] {
            assert_eq!(Next::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn next_is_stable_under_parsing_again() {
        for text in ["/profile", "/资料?q=名", "/a/../b", "/.hidden"] {
            let once = Next::parse(text).expect(text);
            assert_eq!(Next::parse(once.as_str()), Some(once));
        }
    }

    /// What addresses are made of, and what makes other sites of them.
    const PIECES: &str = concat!(
        r"([/\\.?#@:%&=;\t\n\r \x00\x0b\xa0\u2215\uff0f\uff3c\u2028]|%2f|%5C|%2e|%09|//|/\.\.|",
        r"http:|javascript:|evil\.example|[a-z]|\PC){0,12}",
    );

    proptest! {
        #[test]
        fn whatever_next_takes_stays_on_this_site(
            text in prop_oneof![PIECES, PIECES.prop_map(|text| format!("/{text}")), ".*"]
        ) {
            if let Some(next) = Next::parse(&text) {
                let path = next.as_str();
                prop_assert!(path.starts_with('/') && !path.starts_with("//"), "{path:?}");
                prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?}");
                prop_assert_eq!(Next::parse(path), Some(next.clone()), "not stable");
                // As the standard reads it, and as a browser would that is more lenient still.
                let lenient = path.replace(['\t', '\n', '\r'], "").replace('\\', "/");
                for read in [path, &lenient] {
                    for site in ["https://accounts.example.com", "http://localhost:3000/login?next=x"] {
                        let base = Url::parse(site).expect("ours");
                        prop_assert_eq!(base.join(read).expect("an address").origin(), base.origin(), "{:?}", read);
                    }
                }
            }
        }
    }

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
