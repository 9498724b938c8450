//! Forward-auth: a proxy asks who is there, for an app that knows nothing of log-ins. The app is found by its host.

use std::fmt::Write;

use url::Url;

use crate::accounts::apps::host::AppHost;

/// An address at an app to which a user goes back. Its host may be any: [`Lately::at`](super::apps::lately::Lately::at) says whether
/// an app is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    url: String,
    host: AppHost,
}

impl Destination {
    /// The longest address, in bytes.
    const MAX: usize = 8 * 1024;

    /// Returns the address that a text is, or `None` if browsers or URL parsers could read another host in it than we do.
    ///
    /// With an open redirect, an attacker could send users through our log-in page to a copy of it (OWASP, Unvalidated
    /// Redirects and Forwards). So the scheme is the site's own, there is no user name, no backslash that a browser takes for
    /// a slash, and no byte that it drops. The host is read from the text and by the URL parser, and both must agree.
    pub fn parse(text: &str, https: bool) -> Option<Self> {
        let rest = text.strip_prefix(scheme(https))?;
        let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let path = after.split('?').next().unwrap_or_default();
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic()) && !path.contains('\\') && !text.contains('#');
        if !plain || text.len() > Self::MAX {
            return None;
        }
        let host: AppHost = authority.parse().ok()?;
        let url = Url::parse(text).ok()?;
        // By the host that we have read, so that a port which we take for the usual one is the usual one of this scheme.
        let alone = Url::parse(&format!("{}{host}", scheme(https))).ok()?;
        let same = url.origin() == alone.origin() && url.username().is_empty() && url.password().is_none();
        same.then(|| Self { url: text.to_owned(), host })
    }

    /// Returns the address of a request to this host, as its proxy tells it: a path with a query. What no address may have is
    /// encoded, and all else stays as it is.
    pub fn of_request(host: &AppHost, uri: &[u8], https: bool) -> Option<Self> {
        let mut url = format!("{}{host}", scheme(https));
        if !uri.starts_with(b"/") {
            url.push('/');
        }
        let mut in_path = true;
        for &byte in uri {
            in_path &= byte != b'?';
            if byte.is_ascii_graphic() && byte != b'#' && !(in_path && byte == b'\\') {
                url.push(byte.into());
            } else {
                let _ = write!(url, "%{byte:02X}"); // a String takes all
            }
        }
        Self::parse(&url, https)
    }

    /// Returns the first page of the app.
    pub fn root(&self, https: bool) -> Self {
        Self { url: format!("{}{}/", scheme(https), self.host), host: self.host.clone() }
    }

    /// Returns the address, as it was written.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Returns its host and port.
    pub fn host(&self) -> &AppHost {
        &self.host
    }

    /// Returns its origin, as a content security policy has it.
    pub fn source(&self) -> String {
        Url::parse(&self.url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
    }
}

fn scheme(https: bool) -> &'static str {
    if https { "https://" } else { "http://" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_kept_as_it_is_written() {
        for (text, host) in [
            ("https://wiki.example.com", "wiki.example.com"),
            ("https://wiki.example.com/", "wiki.example.com"),
            ("https://Wiki.Example.COM:443/a/../b/%2e%2E//c?x=%E8%B5%84&y=a+b|{}&z=\\'", "wiki.example.com"),
            ("https://wiki.example.com:8443?x", "wiki.example.com:8443"),
            ("https://wiki.example.com/@evil.example/:80", "wiki.example.com"),
            ("https://wiki.example.com/?https://evil.example", "wiki.example.com"),
        ] {
            let parsed = Destination::parse(text, true).expect(text);
            assert_eq!((parsed.as_str(), parsed.host().as_str()), (text, host));
        }
        let root = Destination::parse("https://wiki.example.com:8443/a?b", true).expect("an address").root(true);
        assert_eq!(
            (root.as_str(), root.source().as_str()),
            ("https://wiki.example.com:8443/", "https://wiki.example.com:8443")
        );
    }

    #[test]
    fn an_address_that_may_be_read_otherwise_is_none() {
        for text in [
            "",
            "/",
            "//wiki.example.com/",
            "wiki.example.com",
            "http://wiki.example.com/",
            "HTTPS://wiki.example.com/",
            "https:/wiki.example.com/",
            "https:wiki.example.com/",
            "https:///wiki.example.com/",
            "https:\\\\wiki.example.com/",
            "https://sam@wiki.example.com/",
            "https://sam:x@wiki.example.com/",
            "https://wiki.example.com@evil.example/",
            "https://evil.example\\@wiki.example.com/",
            "https://wiki.example.com\\@evil.example/",
            "https://wiki.example.com\\.evil.example/",
            "https://wiki.example.com/\\evil",
            "https://wiki.example.com/#https://evil.example",
            "https://wiki.example.com#@evil.example/",
            "https://wiki.example.com%2f@evil.example/",
            "https://wiki%2eexample.com/",
            "https://wiki.example.com:x/",
            "https://wiki.example.com:/",
            "https://wiki.example.com:80/",
            "https://wiki.example.com /",
            "https://wiki.example.com/a b",
            "https://wiki.example.com/\u{8d44}",
            "https://wiki.example.com/\ta",
            "\thttps://wiki.example.com/",
            "https://wi\nki.example.com/",
            "https://127.0.0.1/",
            "javascript:alert(1)",
        ] {
            assert_eq!(Destination::parse(text, true), None, "{text:?}");
        }
        assert!(Destination::parse("http://wiki.localhost:80/", false).is_some());
        assert!(Destination::parse("http://wiki.localhost:443/", false).is_none());
    }

    proptest! {
        #[test]
        fn a_user_goes_back_to_the_host_that_we_read(
            text in r"(https?:)?[/\\]{0,3}([a-z@:.\\%/?#\t\n ]|wiki\.example\.com|evil\.example|%2f|%40|:80|\PC){0,10}"
        ) {
            if let Some(to) = Destination::parse(&text, true) {
                // By the standard, and by the rules of a browser that is more lenient.
                let lenient = text.replace(['\t', '\n', '\r'], "").replace('\\', "/");
                for read in [&text, &lenient] {
                    let url = Url::parse(read).expect("an address");
                    let expected = to.root(true);
                    prop_assert_eq!(&url.origin(), &Url::parse(expected.as_str()).expect("ours").origin(), "{:?}", read);
                }
            }
        }

        #[test]
        fn what_a_proxy_tells_is_an_address_at_that_host(uri in proptest::collection::vec(any::<u8>(), 0..30)) {
            let host: AppHost = "wiki.example.com".parse().expect("a host");
            let to = Destination::of_request(&host, &uri, true).expect("an address");
            prop_assert_eq!(to.host(), &host);
        }
    }
}
