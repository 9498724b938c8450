//! Passwords: the types that cannot be printed, and what makes a new one good enough.

pub(in crate::accounts) mod argon;
mod engine;
pub mod hasher;
mod own_names;

use std::fmt;

use sea_orm::DeriveValueType;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;
use zxcvbn::feedback::Warning;

/// A password as it was typed, in Unicode form NFKC, so that the same keys give the same password on every system (NIST SP
/// 800-63B-4, 3.1.1.2). It is wiped from memory when dropped, and never printed.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The most code points. Longer passwords are refused, never cut off.
    pub const MAX: usize = 256;

    /// Accepts any text. Nothing is trimmed: a space is a character like any other.
    pub fn new(typed: &str) -> Self {
        // The limit bounds the work. A text that it cuts is far too long to be accepted.
        Self(Zeroizing::new(typed.nfkc().take(Self::MAX * 2).collect()))
    }

    /// Returns what is hashed. A password that is too long gives an empty text, so that it matches no password.
    pub(in crate::accounts) fn as_bytes(&self) -> &[u8] {
        if self.code_points() > Self::MAX { b"" } else { self.0.as_bytes() }
    }

    /// Returns whether another password is the same text.
    pub(in crate::accounts) fn is(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    fn code_points(&self) -> usize {
        self.0.chars().count()
    }
}

/// Estimates the strength of a text by its first 32 characters. `zxcvbn` looks at every way to read `4@8({[<369` as
/// letters, and takes seconds for a long run of these characters. A strong beginning does not become weak by more text,
/// unless that is the user's own names, which are judged by themselves.
fn estimate(text: &str, known: &[&str]) -> zxcvbn::Entropy {
    const JUDGED: usize = 32;
    let end = text.char_indices().nth(JUDGED).map_or(text.len(), |(at, _)| at);
    zxcvbn::zxcvbn(&text[..end], known)
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A stored hash: a PHC string such as `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`; never printed.
#[derive(Clone, PartialEq, Eq, DeriveValueType)]
pub struct HashedPassword(pub(in crate::accounts) String);

impl HashedPassword {
    /// Stored for an account that has no password at the moment. No password matches it.
    const NONE: &str = "!";

    /// Returns the hash of an account without a password.
    pub(in crate::accounts) fn none() -> Self {
        Self(Self::NONE.into())
    }

    /// Returns whether the account has no password.
    pub(in crate::accounts) fn is_none(&self) -> bool {
        self.0 == Self::NONE
    }
}

impl fmt::Debug for HashedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashedPassword(…)")
    }
}

/// What a new password must be.
#[derive(Clone, Debug)]
pub struct PasswordPolicy {
    /// The fewest code points.
    pub min_length: u32,
    /// A word that every attacker guesses first.
    pub site_name: String,
}

/// A password that is good enough to be chosen.
#[derive(Clone, Debug)]
pub struct NewPassword(Password);

/// Why a password may not be chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PasswordError {
    /// The text is empty.
    Empty,
    /// It has fewer code points than this.
    TooShort(u32),
    /// It has more than [`Password::MAX`] code points.
    TooLong,
    /// It is the password that the account has already.
    Same,
    /// It arrived in a broken encoding, so that the user could never type it again.
    Unreadable,
    /// An attacker who guesses would find it early. The reason is given if there is one.
    Guessable(Option<Warning>),
    /// It is little more than names of the user or the site.
    OwnNames,
}

impl NewPassword {
    /// Accepts a password that is long enough and that `zxcvbn` scores 3 or more, with and without what an attacker knows:
    /// the site's name and `about`, the user's own names and address. There are no rules of composition (NIST SP
    /// 800-63B-4, 3.1.1.2: they make passwords worse). The estimate can take tens of milliseconds: call it by
    /// [`Hasher::judge`](hasher::Hasher::judge).
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub(in crate::accounts) fn parse(
        typed: &str,
        policy: &PasswordPolicy,
        about: &[&str],
    ) -> Result<Self, PasswordError> {
        let password = Password::new(typed);
        let length = password.code_points();
        if length == 0 {
            return Err(PasswordError::Empty);
        }
        if password.0.contains(['\u{fffd}', '\0']) {
            return Err(PasswordError::Unreadable);
        }
        if length < policy.min_length as usize {
            return Err(PasswordError::TooShort(policy.min_length));
        }
        if length > Password::MAX {
            return Err(PasswordError::TooLong);
        }
        const WORDS: usize = 8; // of a name; each further one would be work that an attacker can order
        let mut known = vec![policy.site_name.as_str()];
        known.extend(about.iter().flat_map(|text| text.split_whitespace().take(WORDS).chain([*text])));
        let names: Vec<&str> = about.iter().copied().chain([policy.site_name.as_str()]).collect();
        // The user's own long address, alone or repeated, would look strong to zxcvbn, which sees only its first part. So
        // the rest of the whole password without own names must be strong by itself.
        if let Some(left) = own_names::taken_out(&password.0, &names)
            && estimate(&left, &known).score() < zxcvbn::Score::Three
        {
            return Err(PasswordError::OwnNames);
        }
        let estimate = estimate(&password.0, &known);
        if estimate.score() < zxcvbn::Score::Three {
            return Err(PasswordError::Guessable(estimate.feedback().and_then(|feedback| feedback.warning())));
        }
        Ok(Self(password))
    }

    /// Returns the password, to be hashed.
    pub fn into_inner(self) -> Password {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(typed: &str, about: &[&str]) -> Result<NewPassword, PasswordError> {
        let policy = PasswordPolicy { min_length: 8, site_name: "Latchkey".into() };
        NewPassword::parse(typed, &policy, about)
    }

    #[test]
    fn a_long_passphrase_is_accepted_as_it_is() {
        for good in
            ["velvet otter bakes rye", "  spaces count too  9", "correcte Pferde 电池 订书", "パスワードは長い方がよい"]
        {
            assert!(parse(good, &[]).is_ok(), "{good}");
        }
    }

    #[test]
    fn length_is_counted_in_code_points() {
        assert_eq!(parse("短い密码", &[]).unwrap_err(), PasswordError::TooShort(8));
        assert_eq!(parse("", &[]).unwrap_err(), PasswordError::Empty);
        assert_eq!(parse(&"x".repeat(257), &[]).unwrap_err(), PasswordError::TooLong);
        assert_eq!(parse(&"xyz".repeat(10_000), &[]).unwrap_err(), PasswordError::TooLong);
    }

    #[test]
    fn what_an_attacker_guesses_first_is_refused() {
        for weak in ["password", "12345678", "qwertyuiop", "aaaaaaaaaaaa"] {
            assert!(matches!(parse(weak, &[]), Err(PasswordError::Guessable(_))), "{weak}");
        }
        for weak in ["latchkey1", "Latchkey2026"] {
            assert_eq!(parse(weak, &[]).unwrap_err(), PasswordError::OwnNames, "{weak}");
        }
        assert!(parse("wilhelmina.okonkwo", &[]).is_ok());
        let about = ["wilhelmina.okonkwo@example.com", "wilhelmina.okonkwo", "Wilhelmina Okonkwo"];
        for own in ["wilhelmina.okonkwo", about[0], "Okonkwo Wilhelmina 1!", &about[0].repeat(4)] {
            assert_eq!(parse(own, &about).unwrap_err(), PasswordError::OwnNames, "{own}");
        }
        assert!(parse("wilhelmina otter bakes velvet rye", &about).is_ok());
        assert_eq!(parse("broken \u{fffd} encoding here", &[]).unwrap_err(), PasswordError::Unreadable);
    }

    #[test]
    fn the_same_keys_give_the_same_password_on_every_system() {
        assert_eq!(Password::new("cafe\u{301} ﬁve").as_bytes(), Password::new("café five").as_bytes());
        assert_ne!(Password::new("café ").as_bytes(), Password::new("café").as_bytes());
    }

    #[test]
    fn nothing_is_printed() {
        let new = parse("velvet otter bakes rye", &[]).expect("good");
        assert_eq!(format!("{new:?}"), "NewPassword(Password(…))");
        assert_eq!(format!("{:?}", HashedPassword("$argon2id$…".into())), "HashedPassword(…)");
    }
}
