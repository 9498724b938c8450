//! Addresses of other sites that the operator sets: the home page, and the links at the foot of every page.

use std::str::FromStr;

use url::Url;

/// The address of a web page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebUrl(Url);

impl WebUrl {
    /// Returns the address as `href` and `Location` take it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns its scheme, host and port.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }
}

impl FromStr for WebUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text.trim()).map_err(|_| "is not a URL such as https://www.example.com")?;
        // A scheme such as javascript: would run in our pages.
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must begin with http:// or https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not have a user name or a password: every page shows it");
        }
        // The host becomes part of the content security policy, where `;` begins a new directive.
        let is_odd = |c: char| !c.is_ascii_alphanumeric() && !"-._[]:".contains(c);
        if url.host_str().is_none_or(|host| host.contains(is_odd)) {
            return Err("must have a host such as www.example.com");
        }
        Ok(Self(url))
    }
}

/// A link at the foot of every page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FooterLink {
    /// The text of the link.
    pub name: String,
    /// The address of a page, or `mailto:` and an email address.
    pub url: String,
}

impl FromStr for FooterLink {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const NAME_MAX: usize = 40;
        let (name, url) = text.split_once('=').ok_or("must be NAME=URL, such as Terms=https://example.com/terms")?;
        let (name, url) = (name.trim(), url.trim());
        if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
            return Err("must have a name of 1 to 40 characters before the =");
        }
        let url = match url.strip_prefix("mailto:") {
            Some(mailbox) if mailbox.contains('@') && Url::parse(url).is_ok() => url.to_owned(),
            Some(_) => return Err("must have an address such as mailto:help@example.com after the ="),
            None => url.parse::<WebUrl>()?.as_str().to_owned(),
        };
        Ok(Self { name: name.to_owned(), url })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_name_and_a_page_or_a_mailbox() {
        let link = |text: &str| text.parse::<FooterLink>().map(|link| (link.name, link.url));
        let ok = |name: &str, url: &str| Ok((name.to_owned(), url.to_owned()));
        assert_eq!(link("Terms=https://example.com/terms?a=b"), ok("Terms", "https://example.com/terms?a=b"));
        assert_eq!(link(" 帮助 = mailto:help@example.com "), ok("帮助", "mailto:help@example.com"));
        for bad in [
            "Terms",
            "=https://example.com",
            "Terms=",
            "Terms=/terms",
            "Terms=javascript:alert(1)",
            "Terms=data:text/html,x",
            "Help=mailto:",
            "Terms=https://sam:secret@example.com",
            "Terms=https://example.com;x/",
            "Terms=https://a,b.example/",
        ] {
            assert!(link(bad).is_err(), "{bad}");
        }
    }
}
