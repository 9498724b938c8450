//! What the operator has chosen for accounts.

use time::{Duration, OffsetDateTime};

use crate::accounts::password::PasswordPolicy;
use crate::config::Signup;

/// A session without “keep me logged in” ends after this time without use.
pub const IDLE: Duration = Duration::hours(2);

/// The operator's choices that verbs follow.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Who may create an account.
    pub signup: Signup,
    /// What a new password must be.
    pub password: PasswordPolicy,
    /// How long sessions last.
    pub lifetimes: Lifetimes,
}

/// How long a new session lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// A browser's session, until the browser is closed.
    UntilClosed,
    /// A browser's session with “keep me logged in”.
    Remembered,
    /// A program's session, used or not.
    Token,
}

/// When a browser's session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// This long after it was last used.
    pub idle: Duration,
    /// This long after the log-in, however often it is used.
    pub absolute: Duration,
}

impl Lifetime {
    /// Returns when a session ends that began at `created_at` and is used now.
    pub(super) fn deadline(self, created_at: OffsetDateTime, now: OffsetDateTime) -> OffsetDateTime {
        (now + self.idle).min(created_at + self.absolute)
    }
}

/// How long each kind of session lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// A session that ends with the browser.
    pub until_closed: Lifetime,
    /// A session with “keep me logged in”.
    pub remembered: Lifetime,
    /// A program's session.
    pub token: Duration,
}

impl Lifetimes {
    /// Returns when a session ends that begins now and is not used again.
    pub(super) fn end_of(&self, lasting: Lasting, now: OffsetDateTime) -> OffsetDateTime {
        match lasting {
            Lasting::UntilClosed => self.until_closed.deadline(now, now),
            Lasting::Remembered => self.remembered.deadline(now, now),
            Lasting::Token => now + self.token,
        }
    }

    /// Returns when a browser's session ends at the latest, however often it is used.
    pub fn latest_end(&self, remember: bool, created_at: OffsetDateTime) -> OffsetDateTime {
        created_at + if remember { self.remembered } else { self.until_closed }.absolute
    }
}
