//! Addresses that are registered for an app: where its codes go, and where it is told of log-outs.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::lan;

/// An address that the operator has registered for an app. Codes go to no other: whoever gets a code may log in with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedirectUri(String);

impl RedirectUri {
    /// The longest address, in bytes.
    const MAX: usize = 1000;

    /// Returns the address, as it was registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the origin, or the scheme of an app on a phone, as a content security policy has it.
    pub fn source(&self) -> String {
        match Url::parse(&self.0) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => url.origin().ascii_serialization(),
            Ok(url) => format!("{}:", url.scheme()),
            Err(_) => String::new(),
        }
    }

    /// Returns whether an app that names this address means the registered one: the two are the same text, byte by byte
    /// (RFC 9700, 2.1). With any other rule, a page of the same host that sends its visitors on could be given the code.
    ///
    /// Only an app on the user's own machine may name any port, because it takes one that is free (RFC 8252, 7.3).
    pub fn is(&self, asked: &str) -> bool {
        if self.0 == asked {
            return true;
        }
        // What the URL parser would read otherwise than it is written is compared as text only.
        let plain = |text: &str| Url::parse(text).ok().filter(|url| url.as_str() == text);
        let (Some(mut ours), Some(mut theirs)) = (plain(&self.0), plain(asked)) else { return false };
        let on_loopback = |url: &Url| url.scheme() == "http" && is_loopback(url);
        let without_port = |url: &mut Url| url.set_port(None).is_ok();
        on_loopback(&ours)
            && on_loopback(&theirs)
            && without_port(&mut ours)
            && without_port(&mut theirs)
            && ours == theirs
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

impl FromStr for RedirectUri {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| "is not a URL such as https://wiki.example.com/callback")?;
        if text.len() > Self::MAX {
            return Err("is longer than 1000 characters");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"<>*".contains(&byte)) {
            return Err("must have ASCII characters only, and no blanks, quotes, backslashes or wildcards");
        }
        if url.fragment().is_some() || text.contains('#') {
            return Err("must not have a fragment (RFC 6749, 3.1.2)");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not have a user name or a password");
        }
        // The host becomes part of the content security policy, where `;` begins a new directive.
        if url
            .host_str()
            .is_some_and(|host| host.contains(|c: char| !c.is_ascii_alphanumeric() && !"-._[]:".contains(c)))
        {
            return Err("must have a host such as wiki.example.com");
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) || lan::is_private(url.host_str().unwrap_or_default()) => {}
            "http" => return Err("must begin with https://, because it is not on this machine or a private network"),
            // A scheme of an app on a phone has the name of a domain in it (RFC 8252, 7.1). `javascript:` and `data:` have
            // none.
            scheme if scheme.contains('.') => {}
            _ => return Err("must begin with https://, or with a scheme such as com.example.wiki:/"),
        }
        Ok(Self(text.to_owned()))
    }
}

/// An address at which an app is told of log-outs. The server asks it, so it is a web address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackchannelUri(RedirectUri);

impl BackchannelUri {
    /// Returns the address, as it was registered.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns whether the address itself says that it is on this machine or on a private network.
    pub fn is_private(url: &Url) -> bool {
        is_loopback(url) || lan::is_private(url.host_str().unwrap_or_default())
    }
}

impl FromStr for BackchannelUri {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: RedirectUri = text.parse()?;
        if text.starts_with("http:") || text.starts_with("https:") {
            Ok(Self(uri))
        } else {
            Err("must begin with https://, or with http:// on a private network")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> RedirectUri {
        text.parse().expect(text)
    }

    #[test]
    fn an_address_is_registered_with_its_whole_text() {
        for good in [
            "https://wiki.example.com/callback",
            "https://wiki.example.com/callback?a=b",
            "https://wiki.example.com:8443",
            "http://localhost:8080/cb",
            "http://127.0.0.1/cb",
            "http://[::1]/cb",
            "http://192.168.1.7:8000/cb",
            "http://wiki.lan/cb",
            "com.example.wiki:/callback",
            "com.example.wiki://callback",
        ] {
            assert_eq!(uri(good).as_str(), good);
        }
        let long = format!("https://wiki.example.com/{}", "a".repeat(1000));
        for bad in [
            "",
            "/callback",
            "wiki.example.com",
            "http://wiki.example.com/callback",
            "https://wiki.example.com/callback#x",
            "https://wiki.example.com/callback#",
            "https://sam@wiki.example.com/",
            "https://:x@wiki.example.com/",
            "https://*.example.com/",
            "https://wiki.example.com/a b",
            "https://wiki.example.com/\\",
            "https://wiki.example.com/\n",
            "https://wíki.example.com/",
            "javascript:alert(1)",
            "data:text/html,x",
            "wiki:/callback",
            &long,
        ] {
            assert!(bad.parse::<RedirectUri>().is_err(), "{bad}");
        }
    }

    /// The variants of RFC 9700, 4.1, and those that parsers read in different ways.
    #[test]
    fn only_the_registered_text_is_the_address() {
        let registered = uri("https://wiki.example.com/callback");
        assert!(registered.is("https://wiki.example.com/callback"));
        for other in [
            "",
            "https://wiki.example.com/callback/",
            "https://wiki.example.com/callback?x",
            "https://wiki.example.com/callback#",
            "https://wiki.example.com/Callback",
            "https://wiki.example.com/callback/../callback",
            "https://wiki.example.com/%63allback",
            "https://WIKI.example.com/callback",
            "https://wiki.example.com:443/callback",
            "https://wiki.example.com.evil.example/callback",
            "https://wiki.example.com@evil.example/callback",
            "https://evil.example/callback",
            "https://evil.example\\@wiki.example.com/callback",
            "http://wiki.example.com/callback",
            " https://wiki.example.com/callback",
            "https://wiki.example.com/callback ",
            "https:/wiki.example.com/callback",
            "https://wiki.example.com\t/callback",
        ] {
            assert!(!registered.is(other), "{other}");
        }
    }

    #[test]
    fn an_app_on_the_users_machine_may_take_any_port() {
        for registered in ["http://127.0.0.1/cb", "http://127.0.0.1:3000/cb"] {
            for asked in ["http://127.0.0.1/cb", "http://127.0.0.1:3000/cb", "http://127.0.0.1:51004/cb"] {
                assert!(uri(registered).is(asked), "{registered} {asked}");
            }
            for other in [
                "http://127.0.0.2/cb",
                "http://localhost/cb",
                "http://127.0.0.1:3000/cb/",
                "http://127.0.0.1:3000/cb?x",
                "https://127.0.0.1/cb",
                "http://127.0.0.1:3000@evil.example/cb",
                "http://127.0.0.1:3000\\@evil.example/cb",
                "http://127.1/cb",
                "http://127.0.0.1:99999/cb",
                "http://evil.example/cb",
            ] {
                assert!(!uri(registered).is(other), "{registered} {other}");
            }
        }
        assert!(uri("http://[::1]/cb").is("http://[::1]:8080/cb"));
        assert!(uri("http://localhost:1/cb").is("http://localhost:8080/cb"));
        assert!(!uri("http://192.168.1.7:1/cb").is("http://192.168.1.7:2/cb"), "another machine");
        assert!(
            !uri("https://localhost:1/cb").is("https://localhost:2/cb"),
            "it has a certificate, and so a fixed port"
        );
    }
}
