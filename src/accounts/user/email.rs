//! Email addresses: which ones are accepted, what is sent to, and which of them are the same.

use std::fmt;

use sea_orm::DeriveValueType;
use unicode_normalization::UnicodeNormalization;

/// An address that an email can be sent to, as it was typed.
///
/// A stored address is an `Email` too, and is not checked again: it was checked by the rules of its time.
#[derive(Clone, Debug, PartialEq, Eq, DeriveValueType)]
pub struct Email(String);

/// Why a text is not an [`Email`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailError {
    /// The text is empty.
    Empty,
    /// The text has not the shape `name@example.com`.
    Shape,
    /// The text is longer than SMTP carries (RFC 5321, 4.5.3.1: 64 before the `@`, 254 in all).
    TooLong,
}

impl Email {
    /// Accepts `dot-atom@domain` (RFC 5322, 3.4.1), with letters of any script. Quoted names, comments, address literals
    /// and domains without a dot are refused.
    ///
    /// What is refused is where injection lives: spaces, commas, quotes, brackets and line breaks could turn one recipient
    /// into two, or an address into a header.
    ///
    /// # Errors
    /// The first thing that is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(EmailError::Empty);
        }
        if text.len() > 254 {
            return Err(EmailError::TooLong);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(EmailError::Shape)?;
        // The normal form is checked, because it is what is sent. It may hold characters that the typed form does not:
        // U+0958 becomes two.
        let local: String = local.nfc().collect();
        let atom = |atom: &str| !atom.is_empty() && atom.chars().all(is_atom_char);
        if !local.split('.').all(atom) {
            return Err(EmailError::Shape);
        }
        let ascii = ascii_domain(domain).ok_or(EmailError::Shape)?;
        if local.len() > 64 || local.len() + 1 + ascii.len() > 254 {
            return Err(EmailError::TooLong);
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the address as it was typed: what pages and emails show.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what the mail server gets: the address as typed, but with a domain in its ASCII form.
    pub fn sendable(&self) -> String {
        let (local, domain) = self.parts();
        let domain = if domain.is_ascii() { domain.to_owned() } else { ascii_or_same(domain) };
        format!("{local}@{domain}")
    }

    /// Returns the form in which addresses are compared: two addresses with one canonical form are one account.
    ///
    /// Only the domain and the case of ASCII letters are made equal. Removing dots or `+tags` would join the mailboxes of
    /// different users.
    pub fn canonical(&self) -> String {
        let (local, domain) = self.parts();
        format!("{}@{}", local.to_ascii_lowercase(), ascii_or_same(domain))
    }

    /// Returns the part before the `@` in its normal form, and the domain as typed.
    fn parts(&self) -> (String, &str) {
        let (local, domain) = self.0.rsplit_once('@').unwrap_or((&self.0, ""));
        (local.nfc().collect(), domain)
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Returns the domain in ASCII, or the same text if it is no domain by today's rules.
fn ascii_or_same(domain: &str) -> String {
    ascii_domain(domain).unwrap_or_else(|| domain.to_owned())
}

fn is_atom_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && c.is_alphanumeric())
}

fn ascii_domain(domain: &str) -> Option<String> {
    let ascii = idna::domain_to_ascii_cow(domain.as_bytes(), idna::AsciiDenyList::STD3).ok()?;
    let label = |label: &str| (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
    let top_level_is_a_name = ascii.rsplit('.').next()?.contains(|c: char| c.is_ascii_alphabetic());
    (ascii.contains('.') && ascii.split('.').all(label) && top_level_is_a_name).then(|| ascii.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        Email::parse(text).unwrap_or_else(|why| panic!("{text}: {why:?}")).canonical()
    }

    #[test]
    fn addresses_are_kept_as_typed_and_compared_in_one_form() {
        let email = Email::parse("  Sam.Smith+shop@Bücher.Example ").expect("an address");
        assert_eq!(email.as_str(), "Sam.Smith+shop@Bücher.Example");
        assert_eq!(email.sendable(), "Sam.Smith+shop@xn--bcher-kva.example");
        assert_eq!(email.canonical(), "sam.smith+shop@xn--bcher-kva.example");
        assert_eq!(Email::parse("Sam@Example.com").expect("an address").sendable(), "Sam@Example.com");
        assert_ne!(canonical("sam.smith@example.com"), canonical("samsmith@example.com"));
        assert_eq!(canonical("用户@例子.中国"), "用户@xn--fsqu00a.xn--fiqs8s");
    }

    #[test]
    fn a_canonical_form_is_its_own_canonical_form() {
        for text in ["A@B.example", "Ünï@Bücher.example", "x+y@EXAMPLE.co.uk", "o'hara@example.com"] {
            assert_eq!(canonical(&canonical(text)), canonical(text));
        }
    }

    #[test]
    fn what_is_not_one_address_is_refused() {
        for text in [
            "sam",
            "sam@",
            "@example.com",
            "sam@example",
            "sam@@example.com",
            "a b@example.com",
            "a,b@example.com",
            "sam@example.com,eve@example.com",
            "\"sam\"@example.com",
            "sam@[127.0.0.1]",
            "sam@127.0.0.1",
            ".sam@example.com",
            "sam.@example.com",
            "s..m@example.com",
            "sam@-example.com",
            "sam@example..com",
            "sam@example.com.",
            "a@b.example\r\nBcc: eve@example.com",
            "a\u{0}@b.example",
            "a\u{202e}@b.example",
            "<sam@example.com>",
            "a@b%0d%0aBcc:.com",
            "sam@exam_ple.com",
            "\u{fffd}@example.com",
            "\u{958}@example.com", // its normal form has two characters
        ] {
            assert_eq!(Email::parse(text), Err(EmailError::Shape), "{text:?}");
        }
        assert_eq!(Email::parse(" "), Err(EmailError::Empty));
        assert_eq!(Email::parse(&format!("{}@example.com", "a".repeat(65))), Err(EmailError::TooLong));
        assert_eq!(Email::parse(&"a".repeat(10_000)), Err(EmailError::TooLong));
    }

    /// Returns texts close to an address, or no address at all.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            r" ?[\PC]{1,8}@[\PC]{1,8}\.[a-z]{2,3}",
            r"[a-zA-Z.+'\u00e9\u0301\u212a\u0958]{1,6}@[a-zA-Z\u00df\u03c2\u212b\u0130-]{1,6}\.(com|COM|中国)",
            ".*",
        ]
    }

    proptest! {
        #[test]
        fn an_address_that_is_taken_is_one_address_and_taken_again(text in text()) {
            if let Ok(email) = Email::parse(&text) {
                prop_assert_eq!(Email::parse(email.as_str()), Ok(email.clone()), "as typed");
                for form in [email.sendable(), email.canonical()] {
                    let again = Email::parse(&form);
                    prop_assert_eq!(again.as_ref().map(Email::canonical), Ok(email.canonical()), "{}", form);
                    prop_assert_eq!(form.matches('@').count(), 1);
                    let odd = |c: char| c.is_control() || c.is_whitespace() || ",;:<>()[]\"\\".contains(c);
                    prop_assert!(!form.contains(odd), "{:?}", form);
                }
            }
        }

        #[test]
        fn the_case_of_ascii_letters_makes_no_other_account(
            text in r"[a-zA-Z.+!-~]{1,6}@[a-zA-Z-]{1,6}\.[a-zA-Z]{2,3}"
        ) {
            let canonical = |text: &str| Email::parse(text).map(|email| email.canonical());
            if let Ok(email) = canonical(&text) {
                prop_assert_eq!(canonical(&text.to_ascii_uppercase()), Ok(email.clone()));
                prop_assert_eq!(canonical(&text.to_ascii_lowercase()), Ok(email));
            }
        }
    }
}
