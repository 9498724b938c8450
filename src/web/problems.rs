//! What is wrong with a form, in words that say what to do.

use crate::accounts::email::EmailError;
use crate::accounts::password::{Password, PasswordError};
use crate::accounts::user::Taken;
use crate::accounts::username::{FullName, FullNameError, Username, UsernameError};
use zxcvbn::feedback::Warning;

/// The problems of a form, in the order of its fields; empty on a first visit.
#[derive(Clone, Debug, Default)]
pub struct Problems(Vec<(&'static str, String)>);

impl Problems {
    /// One problem.
    pub fn one(field: &'static str, words: impl Into<String>) -> Self {
        Self(vec![(field, words.into())])
    }

    /// Whether the form can be worked on.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, for the summary.
    pub fn iter(&self) -> impl Iterator<Item = &(&'static str, String)> {
        self.0.iter()
    }

    /// The one at this field.
    pub fn of(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(at, _)| *at == field).map(|(_, words)| words.as_str())
    }

    /// Notes what is wrong with a field, or passes its value on.
    pub fn note<T, E: Words>(&mut self, field: &'static str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.0.push((field, error.words()))).ok()
    }
}

/// An error that a person can mend.
pub trait Words {
    /// What to do.
    fn words(&self) -> String;
}

impl Words for EmailError {
    fn words(&self) -> String {
        match self {
            Self::Empty => "Enter your email address",
            Self::Shape => "Enter an email address like name@example.com",
            Self::TooLong => "Enter a shorter email address: mail servers do not take one this long",
        }
        .into()
    }
}

impl Words for UsernameError {
    fn words(&self) -> String {
        match self {
            Self::Empty => "Choose a username".into(),
            Self::TooShort => "Username must be 3 characters or more".into(),
            Self::TooLong => format!("Username must be {} characters or fewer", Username::MAX),
            Self::Characters => {
                "Username can have letters, digits, - _ and . only, with a letter or digit first and last".into()
            }
            Self::Reserved => "Choose another username: this one is kept for the site".into(),
        }
    }
}

impl Words for FullNameError {
    fn words(&self) -> String {
        match self {
            Self::TooLong => format!("Full name must be {} characters or fewer", FullName::MAX),
            Self::Characters => "Write your full name on one line, without control characters".into(),
        }
    }
}

impl Words for Taken {
    fn words(&self) -> String {
        match self {
            Self::Username => "Choose another username: this one is taken",
            Self::Email => "This email address has an account already. Log in, or use another address",
        }
        .into()
    }
}

impl Words for PasswordError {
    fn words(&self) -> String {
        match self {
            Self::Empty => "Choose a password".into(),
            Self::TooShort(least) => format!("Password must be {least} characters or more"),
            Self::TooLong => format!("Password must be {} characters or fewer", Password::MAX),
            Self::Unreadable => "This password did not arrive as you typed it. Type it again".into(),
            Self::Guessable(why) => {
                let reason = match why {
                    Some(Warning::StraightRowsOfKeysAreEasyToGuess | Warning::ShortKeyboardPatternsAreEasyToGuess) => {
                        "rows of keys are among the first guesses"
                    }
                    Some(
                        Warning::RepeatsLikeAaaAreEasyToGuess | Warning::RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess,
                    ) => "repeats are easy to guess",
                    Some(Warning::SequencesLikeAbcAreEasyToGuess) => "sequences like abc or 6543 are easy to guess",
                    Some(Warning::RecentYearsAreEasyToGuess | Warning::DatesAreOftenEasyToGuess) => {
                        "years and dates are easy to guess"
                    }
                    Some(
                        Warning::ThisIsATop10Password
                        | Warning::ThisIsATop100Password
                        | Warning::ThisIsACommonPassword
                        | Warning::ThisIsSimilarToACommonlyUsedPassword,
                    ) => "this one, or one much like it, is on every list of common passwords",
                    Some(
                        Warning::NamesAndSurnamesByThemselvesAreEasyToGuess
                        | Warning::CommonNamesAndSurnamesAreEasyToGuess,
                    ) => "names are easy to guess",
                    Some(Warning::AWordByItselfIsEasyToGuess) => "a single word is easy to guess",
                    None => "this one would be guessed early",
                };
                format!("Choose a password that is harder to guess: {reason}. Three random words work well")
            }
        }
    }
}
