//! E-mail addresses: what is taken, what is sent to, what counts as the same.

use unicode_normalization::UnicodeNormalization;

/// An address that a letter can be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    typed: String,
    sendable: String,
    canonical: String,
}

/// Why a text is not an [`Email`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailError {
    /// Nothing was typed.
    Empty,
    /// It has not the shape `name@example.com`.
    Shape,
    /// It is longer than SMTP carries (RFC 5321, 4.5.3.1: 64 before the `@`, 254 in all).
    TooLong,
}

impl Email {
    /// Takes `dot-atom@domain` (RFC 5322, 3.4.1), letters of any script included; no quoted names, no
    /// comments, no address literals, no domain without a dot.
    ///
    /// What is left out is where injection lives: spaces, commas, quotes, brackets and line breaks could
    /// turn one recipient into two, or an address into a header.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(EmailError::Empty);
        }
        if text.len() > 254 {
            return Err(EmailError::TooLong);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(EmailError::Shape)?;
        // Judged in the form that is kept and sent: it may hold what the typed one does not, such as U+0958 apart.
        let local: String = local.nfc().collect();
        let atom = |atom: &str| !atom.is_empty() && atom.chars().all(is_atom_char);
        if !local.split('.').all(atom) {
            return Err(EmailError::Shape);
        }
        let ascii = ascii_domain(domain).ok_or(EmailError::Shape)?;
        if local.len() > 64 || local.len() + 1 + ascii.len() > 254 {
            return Err(EmailError::TooLong);
        }
        Ok(Self {
            sendable: format!("{local}@{}", if domain.is_ascii() { domain } else { &ascii }),
            canonical: format!("{}@{ascii}", local.to_ascii_lowercase()),
            typed: text.to_owned(),
        })
    }

    /// As it was typed: what pages and letters show.
    pub fn as_str(&self) -> &str {
        &self.typed
    }

    /// What goes to the mail server: as typed, but for a domain of other letters, which goes in its ASCII form.
    pub fn sendable(&self) -> &str {
        &self.sendable
    }

    /// Two addresses with one canonical form are one account. Only the domain and the case of ASCII
    /// letters are levelled: taking dots or `+tags` out would join the mailboxes of different people.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The part before the `@`, which is too easy to guess as a password.
    pub fn local_part(&self) -> &str {
        self.typed.rsplit_once('@').map_or(&self.typed, |(local, _)| local)
    }
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
        Email::parse(text).unwrap_or_else(|why| panic!("{text}: {why:?}")).canonical().to_owned()
    }

    #[test]
    fn addresses_are_kept_as_typed_and_compared_in_one_form() {
        let email = Email::parse("  Sam.Smith+shop@Bücher.Example ").expect("an address");
        assert_eq!(email.as_str(), "Sam.Smith+shop@Bücher.Example");
        assert_eq!(email.sendable(), "Sam.Smith+shop@xn--bcher-kva.example");
        assert_eq!(email.canonical(), "sam.smith+shop@xn--bcher-kva.example");
        assert_eq!(email.local_part(), "Sam.Smith+shop");
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
            "\u{958}@example.com", // which is two characters once it is in its normal form
        ] {
            assert_eq!(Email::parse(text), Err(EmailError::Shape), "{text:?}");
        }
        assert_eq!(Email::parse(" "), Err(EmailError::Empty));
        assert_eq!(Email::parse(&format!("{}@example.com", "a".repeat(65))), Err(EmailError::TooLong));
        assert_eq!(Email::parse(&"a".repeat(10_000)), Err(EmailError::TooLong));
    }

    /// Close to an address, or no address at all.
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
                    let again = Email::parse(form);
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
            let canonical = |text: &str| Email::parse(text).map(|email| email.canonical().to_owned());
            if let Ok(email) = canonical(&text) {
                prop_assert_eq!(canonical(&text.to_ascii_uppercase()), Ok(email.clone()));
                prop_assert_eq!(canonical(&text.to_ascii_lowercase()), Ok(email));
            }
        }
    }
}
