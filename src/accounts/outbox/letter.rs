//! The letters that the outbox holds: what each is about, how urgent it is, and how long it is worth sending. What they say
//! is in `mail::letters`.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use time::Duration;
use uuid::Uuid;

use crate::accounts::link::{pending_signup, reset_token};
use crate::accounts::{Asked, Fault, Result};

/// Which letters go first. An attacker decides how many letters of strangers there are, so nothing may wait behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i32", db_type = "Integer")]
pub enum Priority {
    /// A reset whose address was not looked up yet. It is not sent before it is sorted (`flood::sort`).
    Unsorted = 0,
    /// A reset for an address that has an account: its owner is waiting at the page.
    Reset = 1,
    /// Word to an owner about the account.
    Owner = 2,
    /// What strangers have sent, to any address: sign-ups.
    Stranger = 3,
}

/// What a letter is about. No secrets: tokens are minted when it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "letter", content = "data", rename_all = "snake_case")]
pub enum Letter {
    /// Somebody signed up with this address: the link, or a word that there is an account already.
    Signup {
        /// The row in `pending_signups`.
        pending: Uuid,
        /// When and from where.
        asked: Asked,
    },
    /// Somebody forgot the password of this address, if it has an account.
    ResetPassword {
        /// When and from where.
        asked: Asked,
    },
    /// The owner of this address's account said that a log-in was not theirs: the link to a new password.
    NotMe {
        /// When and from where they said so.
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
    /// Somebody logged in to this address's account in a browser that it had not seen before.
    NewDevice {
        /// The user.
        user: Uuid,
        /// The session that began.
        session: Uuid,
        /// When and from where.
        asked: Asked,
    },
}

impl Letter {
    pub(in crate::accounts) fn priority(&self) -> Priority {
        match self {
            Self::ResetPassword { .. } => Priority::Unsorted,
            Self::NotMe { .. } => Priority::Reset,
            Self::Signup { .. } => Priority::Stranger,
            Self::PasswordChanged { .. }
            | Self::NewDevice { .. }
            | Self::NewDevices { .. }
            | Self::DevicesEnded { .. }
            | Self::AccountCreated { .. }
            | Self::EmailAdded { .. }
            | Self::EmailRemoved { .. } => Priority::Owner,
        }
    }

    /// Whose account it is about, if it says so.
    pub(in crate::accounts) fn user(&self) -> Option<Uuid> {
        match self {
            Self::NewDevice { user, .. } | Self::NewDevices { user, .. } | Self::DevicesEnded { user, .. } => {
                Some(*user)
            }
            _ => None,
        }
    }

    /// The name of its kind, and its data.
    pub(in crate::accounts) fn parts(&self) -> Result<(String, Json)> {
        let fault = |why: serde_json::Error| Fault::Internal(format!("a letter does not encode: {why}"));
        let mut parts = serde_json::to_value(self).map_err(fault)?;
        Ok((parts["letter"].as_str().unwrap_or_default().to_owned(), parts["data"].take()))
    }

    /// How long it is worth sending.
    pub(in crate::accounts) fn worth_sending(&self) -> Duration {
        match self {
            Self::ResetPassword { .. } | Self::NotMe { .. } => reset_token::LIFETIME,
            _ => pending_signup::LIFETIME,
        }
    }
}
