//! The words of the errors that values and limits have.

use time::Duration;
use zxcvbn::feedback::Warning;

use super::Words;
use crate::accounts::limit::TooMany;
use crate::accounts::password::{Password, PasswordError};
use crate::accounts::profile::CurrentPasswordError;
use crate::accounts::signup::SignupProblem;
use crate::accounts::user::Taken;
use crate::accounts::user::email::EmailError;
use crate::accounts::user::username::{FullName, FullNameError, Username, UsernameError};
use crate::locale::Translation;

impl Words for EmailError {
    fn words(&self, t: &Translation) -> String {
        match self {
            Self::Empty => t.email_empty().into(),
            Self::Shape => t.email_shape().into(),
            Self::TooLong => t.email_too_long().into(),
        }
    }
}

impl Words for UsernameError {
    fn words(&self, t: &Translation) -> String {
        match self {
            Self::Empty => t.username_empty().into(),
            Self::TooShort => t.username_too_short().into(),
            Self::TooLong => t.username_too_long(Username::MAX),
            Self::Characters => t.username_characters().into(),
            Self::Reserved => t.username_reserved().into(),
            Self::LooksReserved => t.username_looks_reserved().into(),
            Self::MixesScripts => t.username_mixes_scripts().into(),
        }
    }
}

impl Words for FullNameError {
    fn words(&self, t: &Translation) -> String {
        match self {
            Self::TooLong => t.full_name_too_long(FullName::MAX),
            Self::Characters => t.full_name_characters().into(),
        }
    }
}

impl Words for TooMany {
    fn words(&self, t: &Translation) -> String {
        let minutes = |wait: &Duration| (wait.whole_seconds() + 59) / 60;
        match self {
            Self::Client(wait) => t.too_many_client(minutes(wait)),
            Self::Site(_) => t.failure_busy_advice().into(),
            Self::Account(wait) => t.too_many_account(minutes(wait)),
            Self::Closed => t.too_many_closed().into(),
        }
    }
}

impl Words for Taken {
    fn words(&self, t: &Translation) -> String {
        match self {
            Self::Username => t.username_taken().into(),
            Self::Email => t.email_taken().into(),
        }
    }
}

impl Words for PasswordError {
    fn words(&self, t: &Translation) -> String {
        match self {
            Self::Empty => t.password_empty().into(),
            Self::TooShort(least) => t.password_too_short(*least),
            Self::TooLong => t.password_too_long(Password::MAX),
            Self::Unreadable => t.password_unreadable().into(),
            Self::Same => t.password_same().into(),
            Self::OwnNames => t.password_guessable(t.guessable_own()),
            Self::Guessable(why) => t.password_guessable(match why {
                Some(Warning::StraightRowsOfKeysAreEasyToGuess | Warning::ShortKeyboardPatternsAreEasyToGuess) => {
                    t.guessable_keys()
                }
                Some(
                    Warning::RepeatsLikeAaaAreEasyToGuess | Warning::RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess,
                ) => t.guessable_repeats(),
                Some(Warning::SequencesLikeAbcAreEasyToGuess) => t.guessable_sequences(),
                Some(Warning::RecentYearsAreEasyToGuess | Warning::DatesAreOftenEasyToGuess) => t.guessable_dates(),
                Some(
                    Warning::ThisIsATop10Password
                    | Warning::ThisIsATop100Password
                    | Warning::ThisIsACommonPassword
                    | Warning::ThisIsSimilarToACommonlyUsedPassword,
                ) => t.guessable_common(),
                Some(
                    Warning::NamesAndSurnamesByThemselvesAreEasyToGuess | Warning::CommonNamesAndSurnamesAreEasyToGuess,
                ) => t.guessable_names(),
                Some(Warning::AWordByItselfIsEasyToGuess) => t.guessable_word(),
                None => t.guessable_early(),
            }),
        }
    }
}

impl Words for SignupProblem {
    fn words(&self, t: &Translation) -> String {
        match self {
            Self::Email(why) => why.words(t),
            Self::Username(why) => why.words(t),
            Self::FullName(why) => why.words(t),
            Self::Password(why) => why.words(t),
            Self::Taken(taken) => taken.words(t),
        }
    }
}

impl Words for CurrentPasswordError {
    fn words(&self, t: &Translation) -> String {
        match self {
            Self::Empty => t.current_password_empty().into(),
            Self::Wrong => t.current_password_wrong().into(),
        }
    }
}
