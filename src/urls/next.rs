//! The page that a form leads to.

use serde::{Deserialize, Serialize};
use url::Url;

/// The page after the log-in: a path on this site and nothing else.
///
/// With an open redirect, an attacker could send users through our log-in page to a copy of it (OWASP, Unvalidated
/// Redirects and Forwards). Browsers read `//host` and `/\host` as another site, and drop tabs and line breaks from
/// addresses. So texts with these are refused before the URL parser reads them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Next(String);

impl Next {
    /// The longest path that is carried along, in bytes. Requests of apps are long (`authorize`).
    const MAX: usize = 2048;

    /// Returns the path, or `None` if the text could lead to another site.
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
        // The length is checked again, because `<` has become `%3C`, and the form sends the longer text back.
        (path.len() <= Self::MAX).then_some(Self(path))
    }

    /// Returns the path and query, which are safe in `Location`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Next {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a path on this site")
    }
}

impl From<Next> for String {
    fn from(next: Next) -> Self {
        next.0
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
        let (long, long_encoded) = (format!("/{}", "a".repeat(2100)), format!("/{}", "<".repeat(1000)));
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

    /// The parts of addresses, and those that make another site of an address.
    const PIECES: &str = concat!(
        r"([/\\.?#@:%&=;\t\n\r \x00\x0b\xa0\u2215\uff0f\uff3c\u2028]|%2f|%5C|%2e|%09|//|/\.\.|",
        r"http:|javascript:|evil\.example|[a-z]|\PC){0,12}",
    );

    proptest! {
        #[test]
        fn next_always_stays_on_this_site(
            text in prop_oneof![PIECES, PIECES.prop_map(|text| format!("/{text}")), ".*"]
        ) {
            if let Some(next) = Next::parse(&text) {
                let path = next.as_str();
                prop_assert!(path.starts_with('/') && !path.starts_with("//"), "{path:?}");
                prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?}");
                prop_assert_eq!(Next::parse(path), Some(next.clone()), "not stable");
                // The path is read by the standard, and by the rules of a browser that is more lenient.
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
}
