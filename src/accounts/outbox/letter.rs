//! The kinds of letters: what each is about, how urgent it is, and how long it is worth sending. Their texts are in
//! `mail::letters`.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use time::Duration;
use uuid::Uuid;

use crate::accounts::link::{pending_signup, reset_token};
use crate::accounts::{Asked, Fault, Result};

/// Which letters go first. An attacker decides how many letters of strangers there are, so no other letter may wait behind
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i32", db_type = "Integer")]
pub enum Priority {
    /// A reset whose address was not looked up yet. It is not sent before it is sorted (`outbox::sort`).
    Unsorted = 0,
    /// A reset for an address that has an account: its owner is waiting at the page.
    Reset = 1,
    /// News to an owner about the account.
    Owner = 2,
    /// A sign-up, which a stranger can send to any address.
    Stranger = 3,
}

/// How long news to an owner is worth sending.
const NEWS_WORTH_SENDING: Duration = Duration::hours(24);

/// What a letter is about. It has no secrets: tokens are made when it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "letter", content = "data", rename_all = "snake_case")]
pub enum Letter {
    /// A sign-up with this address: the link, or the news that there is an account already.
    Signup {
        /// The row in `pending_signups`.
        pending: Uuid,
        /// When and from where.
        asked: Asked,
    },
    /// A reset was asked for with this address, if it has an account.
    ResetPassword {
        /// When and from where.
        asked: Asked,
    },
    /// The owner of this address's account said that a log-in was not theirs: the link to a new password.
    NotMe {
        /// When and from where the owner said so.
        asked: Asked,
    },
    /// The password of this address's account was changed.
    PasswordChanged {
        /// When and from where.
        asked: Asked,
    },
    /// The operator made an account for this address.
    AccountCreated {
        /// When.
        asked: Asked,
    },
    /// The operator made this address the address of an account.
    EmailAdded {
        /// When.
        asked: Asked,
    },
    /// The operator gave the account of this address another one.
    EmailRemoved {
        /// When.
        asked: Asked,
    },
    /// Devices were logged out of this address's account in a browser that is new to it.
    DevicesEnded {
        /// The user.
        user: Uuid,
        /// The session that did it.
        session: Uuid,
        /// An id from the time at which it did.
        act: Uuid,
        /// How many.
        devices: u32,
        /// When and from where.
        asked: Asked,
    },
    /// As [`Letter::NewDevice`], for several log-ins that waited for their turn.
    NewDevices {
        /// The user.
        user: Uuid,
        /// The first session that began.
        session: Uuid,
        /// When and from where, the first ones.
        log_ins: Vec<Asked>,
        /// How many there were besides.
        more: u32,
    },
    /// A log-in to this address's account from a browser that it does not know.
    NewDevice {
        /// The user.
        user: Uuid,
        /// The session that began.
        session: Uuid,
        /// When and from where.
        asked: Asked,
    },
}

/// What the outbox has to know about a letter.
pub(in crate::accounts) struct Handling {
    /// Which letters go first.
    pub priority: Priority,
    /// How long the letter is worth sending.
    pub worth_sending: Duration,
    /// The user and the session that the letter tells of, if it tells of a session.
    pub told: Option<(Uuid, Uuid)>,
}

impl Letter {
    /// Returns how this kind of letter is handled.
    pub(in crate::accounts) fn handling(&self) -> Handling {
        let handling = |priority, worth_sending| Handling { priority, worth_sending, told: None };
        match self {
            Self::ResetPassword { .. } => handling(Priority::Unsorted, reset_token::LIFETIME),
            Self::NotMe { .. } => handling(Priority::Reset, reset_token::LIFETIME),
            Self::Signup { .. } => handling(Priority::Stranger, pending_signup::LIFETIME),
            Self::NewDevice { user, session, .. }
            | Self::NewDevices { user, session, .. }
            | Self::DevicesEnded { user, session, .. } => {
                Handling { told: Some((*user, *session)), ..handling(Priority::Owner, NEWS_WORTH_SENDING) }
            }
            Self::PasswordChanged { .. }
            | Self::AccountCreated { .. }
            | Self::EmailAdded { .. }
            | Self::EmailRemoved { .. } => handling(Priority::Owner, NEWS_WORTH_SENDING),
        }
    }

    /// Returns the name of its kind, and its data.
    pub(in crate::accounts) fn parts(&self) -> Result<(String, Json)> {
        let fault = |why: serde_json::Error| Fault::Internal(format!("a letter does not encode: {why}"));
        let mut parts = serde_json::to_value(self).map_err(fault)?;
        Ok((parts["letter"].as_str().unwrap_or_default().to_owned(), parts["data"].take()))
    }
}
