//! A form that came after its session had ended, kept until a user has logged in again.

use serde::{Deserialize, Serialize};

use crate::gate::form::FromFields;
use crate::urls;

/// What is kept of a form: what the user would have to type again, and no secrets. Any client can send us a form, but a
/// text of a form is short by its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Draft {
    /// A new name.
    Name(String),
    /// A new language, as its tag.
    Language(String),
    /// A new password, of which nothing is kept.
    Password,
    /// A device that was to be logged out. Nothing is kept: the user chooses again.
    LogOut,
    /// An app whose access was to be taken away. Nothing is kept either.
    EndAccess,
}

impl Draft {
    /// Returns the page that has the form.
    pub fn page(&self) -> &'static str {
        match self {
            Self::Name(_) => urls::PROFILE_NAME,
            Self::Language(_) => urls::PROFILE_LANGUAGE,
            Self::Password => urls::PROFILE_PASSWORD,
            Self::LogOut => urls::SECURITY,
            Self::EndAccess => urls::APPS,
        }
    }
}

/// A form of a user who is logged in. [`Posted`](super::posted::Posted) takes no form that does not say what is kept of it.
pub trait Keepable: FromFields + Send {
    /// Returns what is kept of the form when its session has ended. It takes the form apart by the names of all its
    /// fields, so that a new field without a decision does not compile.
    fn draft(self) -> Draft;
}
