//! How often something may be attempted: by a client, whatever account it is about ([`clients`], in memory), and at one
//! account or address, whichever client asks ([`accounts`], in the database).
//!
//! An attempt is taken before the work, not after it. Otherwise a thousand attempts at once would all find the bucket
//! as it was before the first of them.

pub mod accounts;
pub mod clients;
mod rate;
mod strangers;

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::keys::Fingerprint;
use accounts::AccountLimits;
use clients::ClientLimits;
use strangers::StrangersEvents;

/// All counters of the site.
#[derive(Debug)]
pub struct Limits {
    on: bool,
    /// What clients attempt.
    pub clients: ClientLimits,
    /// What is attempted at accounts.
    pub(in crate::accounts) accounts: AccountLimits,
    events: StrangersEvents,
}

impl Limits {
    /// Counts nothing unless it is `on`. `names` turns what is counted at accounts into keys of the table.
    pub fn new(on: bool, names: Fingerprint) -> Self {
        let (clients, accounts) = (ClientLimits::new(on), AccountLimits::new(on, names));
        Self { on, clients, accounts, events: StrangersEvents::default() }
    }

    /// Takes this node's share of what is counted in memory. The counters of accounts are in the database, which all nodes
    /// share.
    pub fn divide_among(&self, nodes: u32) {
        self.clients.divide_among(nodes);
        self.events.divide_among(nodes);
    }

    /// Returns whether one more event that strangers can cause is written, for this account or for none.
    pub(in crate::accounts) fn admits_event(&self, user: Option<Uuid>, now: OffsetDateTime) -> bool {
        !self.on || self.events.admit(user, now)
    }
}

/// An attempt that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Whether this attempt is noted as an event: a client's last one for now; at an account, the failure that makes a full
    /// burst in a row, or that closes the bucket.
    pub last: bool,
}

/// Why an attempt was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// The client, a network that it is in, or the app that speaks for it has used up its attempts, at whatever account.
    Client(Duration),
    /// All clients together have used up the attempts of the site.
    Site(Duration),
    /// The attempts at the account are used up. A reset refills them at once.
    Account(Duration),
    /// So many attempts have failed in a row that waiting does not help. Only a reset does, or a browser that the account
    /// knows.
    Closed,
}

impl TooMany {
    /// Returns how long to wait. A closed account is worth another look in an hour: its owner may have opened it.
    pub fn wait(self) -> Duration {
        match self {
            Self::Client(wait) | Self::Account(wait) => wait,
            // Not sooner than other clients that are told that the site is busy.
            Self::Site(wait) => wait.max(Duration::seconds(5)),
            Self::Closed => Duration::HOUR,
        }
    }
}
