//! Usernames and full names.

use precis_profiles::precis_core::profile::PrecisFastInvocation;
use precis_profiles::{UsernameCaseMapped, UsernameCasePreserved};
use unicode_normalization::UnicodeNormalization;

use crate::accounts::user::confusable::{looks_like, mixes_scripts};

/// A name to log in with: 3 to 32 letters and digits of any script, and `-`, `_`, `.` between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username {
    typed: String,
    canonical: String,
}

/// Why a text is not a [`Username`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsernameError {
    /// The text is empty.
    Empty,
    /// It has fewer than 3 characters.
    TooShort,
    /// It has more than 32 characters.
    TooLong,
    /// It has a character that is no letter, no digit and none of `-_.`, or it begins or ends with one of these three.
    Characters,
    /// It would look like a name of the site itself.
    Reserved,
    /// It looks like a reserved name, or like the site's name.
    LooksReserved,
    /// It mixes letters of scripts that no language mixes.
    MixesScripts,
}

/// Names with which a user could seem to speak for the site, or that mean something in an address.
const RESERVED: &[&str] = &[
    "abuse",
    "account",
    "accounts",
    "admin",
    "administrator",
    "all",
    "anonymous",
    "api",
    "billing",
    "contact",
    "dev",
    "everyone",
    "help",
    "hostmaster",
    "info",
    "latchkey",
    "login",
    "logout",
    "mailer-daemon",
    "me",
    "moderator",
    "no-reply",
    "nobody",
    "noreply",
    "null",
    "official",
    "owner",
    "postmaster",
    "privacy",
    "profile",
    "root",
    "security",
    "settings",
    "signup",
    "staff",
    "static",
    "support",
    "sysadmin",
    "system",
    "undefined",
    "user",
    "username",
    "users",
    "webmaster",
];

impl Username {
    /// The most characters.
    pub const MAX: usize = 32;

    /// Accepts the username of a new account. An attacker whose name looks like the site's, or like another user's by
    /// letters of another script, is believed. Only new names are judged by this: users who chose their name before a
    /// rule must still be able to log in.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn choose(text: &str, site_name: &str) -> Result<Self, UsernameError> {
        let name = Self::parse(text)?;
        if RESERVED.contains(&name.canonical()) {
            return Err(UsernameError::Reserved);
        }
        if mixes_scripts(name.canonical()) {
            return Err(UsernameError::MixesScripts);
        }
        let mut kept = RESERVED.iter().copied().chain([site_name]);
        if kept.any(|word| looks_like((name.as_str(), name.canonical()), word)) {
            return Err(UsernameError::LooksReserved);
        }
        Ok(name)
    }

    /// Returns a name as two columns store it. It is not checked again: it was checked by the rules of its time.
    pub(in crate::accounts) fn stored(typed: String, canonical: String) -> Self {
        Self { typed, canonical }
    }

    /// Accepts a name by the rules of RFC 8265, 3.3 (`UsernameCaseMapped`), and fewer characters than they allow.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, UsernameError> {
        let text = text.trim();
        match text.chars().count() {
            0 => return Err(UsernameError::Empty),
            1..=2 => return Err(UsernameError::TooShort),
            3..=Self::MAX => {}
            _ => return Err(UsernameError::TooLong),
        }
        let canonical = UsernameCaseMapped::enforce(text).map_err(|_| UsernameError::Characters)?;
        let typed = UsernameCasePreserved::enforce(text).map_err(|_| UsernameError::Characters)?;
        // Not every mapping gives a text that the rules accept (RFC 8264, 7). Cherokee capitals become small letters that
        // the rules refuse, and with such a name the user could not log in.
        if UsernameCaseMapped::enforce(canonical.as_ref()).as_deref() != Ok(canonical.as_ref()) {
            return Err(UsernameError::Characters);
        }
        let inside = |c: char| c.is_alphanumeric() || is_mark(c) || "-_.".contains(c);
        let at_end = |c: Option<char>| c.is_some_and(|c| !"-_.".contains(c));
        if !canonical.chars().all(inside) || !at_end(canonical.chars().next()) || !at_end(canonical.chars().last()) {
            return Err(UsernameError::Characters);
        }
        match canonical.chars().count() {
            0..=2 => return Err(UsernameError::TooShort),
            3..=Self::MAX => {}
            _ => return Err(UsernameError::TooLong),
        }
        Ok(Self { typed: typed.into_owned(), canonical: canonical.into_owned() })
    }

    /// Returns the name as it was typed: what pages show.
    pub fn as_str(&self) -> &str {
        &self.typed
    }

    /// Returns the form in which names are compared: two names with one canonical form are one account.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

/// Returns whether a character is a mark, which belongs to the letter before it (Devanagari, Thai, …). PRECIS lets only
/// valid marks through.
fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

/// The name that a user is called by. It may be empty. Pages show it as text; letters never do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FullName(String);

/// Why a text is not a [`FullName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullNameError {
    /// It has more than 100 characters.
    TooLong,
    /// It has a control character, or one that changes the direction of the text around it.
    Characters,
}

impl FullName {
    /// The most characters.
    pub const MAX: usize = 100;

    /// Accepts any text of one line. Spaces around it are removed, and several spaces in it become one.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, FullNameError> {
        if text.contains(is_unprintable) {
            return Err(FullNameError::Characters);
        }
        let name: String = text.split_whitespace().collect::<Vec<_>>().join(" ").nfc().collect();
        if name.chars().count() > Self::MAX {
            return Err(FullNameError::TooLong);
        }
        Ok(Self(name))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns whether a character is a control, a sign of a broken encoding, or a mark that reorders a line so that it reads
/// differently (Trojan Source).
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{fffd}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_username_is_kept_as_typed_and_compared_in_one_form() {
        let name = Username::parse(" Sam_Smith.99 ").expect("a name");
        assert_eq!((name.as_str(), name.canonical()), ("Sam_Smith.99", "sam_smith.99"));
        assert_eq!(Username::parse("ＳＡＭＭＹ").expect("wide").canonical(), "sammy");
        assert_eq!(Username::parse("张小明").expect("Chinese").canonical(), "张小明");
        assert_eq!(Username::parse("प्रिया").expect("Devanagari").canonical(), "प्रिया");
    }

    #[test]
    fn a_canonical_username_is_its_own_canonical_form() {
        for text in ["Sam", "ＳＡＭＭＹ", "Émile", "张小明", "İpek"] {
            let once = Username::parse(text).expect(text);
            assert_eq!(Username::parse(once.canonical()).expect(text).canonical(), once.canonical());
        }
    }

    #[test]
    fn what_is_not_a_username_is_refused() {
        for (text, why) in [
            ("", UsernameError::Empty),
            ("ab", UsernameError::TooShort),
            ("a@b.example", UsernameError::Characters),
            ("a b c", UsernameError::Characters),
            ("a/b", UsernameError::Characters),
            ("-sam", UsernameError::Characters),
            ("sam.", UsernameError::Characters),
            ("sa\u{0}m", UsernameError::Characters),
            ("sa\u{202e}m", UsernameError::Characters),
            ("<b>sam</b>", UsernameError::Characters),
            ("\u{13a0}\u{13a1}\u{13a2}", UsernameError::Characters),
        ] {
            assert_eq!(Username::parse(text), Err(why), "{text:?}");
        }
        assert_eq!(Username::parse(&"a".repeat(33)), Err(UsernameError::TooLong));
        assert_eq!(Username::parse(&"a".repeat(10_000)), Err(UsernameError::TooLong));
    }

    #[test]
    fn a_new_name_must_not_pass_for_the_site() {
        for (text, why) in [
            ("Admin", UsernameError::Reserved),
            ("ＲＯＯＴ", UsernameError::Reserved),
            ("adm\u{131}n", UsernameError::LooksReserved),
            ("acme", UsernameError::LooksReserved),
            ("acme\u{430}", UsernameError::MixesScripts),
            ("-sam", UsernameError::Characters),
        ] {
            assert_eq!(Username::choose(text, "Acme"), Err(why), "{text:?}");
        }
        assert!(Username::choose("sam", "Acme").is_ok() && Username::parse("admin").is_ok());
    }

    #[test]
    fn a_full_name_is_one_line_of_text() {
        assert_eq!(FullName::parse("  Sam   <b>Smith</b> ").expect("text").as_str(), "Sam <b>Smith</b>");
        assert_eq!(FullName::parse("").expect("empty is fine"), FullName::default());
        assert_eq!(FullName::parse("Sam\r\nBcc: eve@example.com"), Err(FullNameError::Characters));
        assert_eq!(FullName::parse("Sam \u{202e}htimS"), Err(FullNameError::Characters));
        assert_eq!(FullName::parse(&"é".repeat(101)), Err(FullNameError::TooLong));
        assert!(FullName::parse(&"é".repeat(100)).is_ok());
    }

    /// Returns texts close to a name, with the letters that change most when their case or width does, or no name at all.
    fn text() -> impl Strategy<Value = String> {
        let odd = r"[a-zA-Z._@\uff20\uff21\u0130\u0131\u00df\u1e9e\u03a3\u03c2\u212a\u01c5\u0301\u0345\u13a0-]{3,8}";
        prop_oneof![r"[\PC]{3,8}", odd, ".*"]
    }

    proptest! {
        #[test]
        fn a_username_that_is_taken_is_one_name_and_taken_again(text in text()) {
            let canonical = |text: &str| Username::parse(text).map(|name| name.canonical);
            if let Ok(name) = Username::parse(&text) {
                let odd = |c: char| c == '@' || c.is_control() || c.is_whitespace();
                for form in [&name.typed, &name.canonical] {
                    prop_assert_eq!(canonical(form), Ok(name.canonical.clone()), "{}", form);
                    prop_assert!(!form.contains(odd), "{:?}", form);
                }
                prop_assert_eq!(Username::parse(&name.typed), Ok(name.clone()), "as typed");
                let upper = name.canonical.to_ascii_uppercase();
                prop_assert_eq!(canonical(&upper), Ok(name.canonical), "{}", upper);
            }
        }

        #[test]
        fn a_full_name_that_is_taken_is_one_line_and_taken_again(text in prop_oneof!["\\PC{0,40}", ".*"]) {
            if let Ok(name) = FullName::parse(&text) {
                prop_assert_eq!(FullName::parse(name.as_str()), Ok(name.clone()));
                prop_assert!(!name.as_str().contains(char::is_control));
            }
        }
    }
}
