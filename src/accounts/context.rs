//! What verbs work with.

use std::net::IpAddr;
use std::sync::Arc;

use time::OffsetDateTime;
use tokio::sync::Notify;

use crate::accounts::Result;
use crate::accounts::limit::Limits;
use crate::accounts::password::hasher::Hasher;
use crate::accounts::password::{NewPassword, PasswordError};
use crate::accounts::policy::Policy;
use crate::accounts::session::{self, Resumed, SessionKind};
use crate::db::Db;
use crate::keys::Pointer;
use crate::metrics::Metrics;

/// The context of every verb. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// The tables.
    pub db: Db,
    /// Hashes passwords.
    pub hasher: Hasher,
    /// Counts attempts, of clients and at accounts.
    pub limits: Arc<Limits>,
    /// What the operator has chosen.
    pub policy: Arc<Policy>,
    /// Wakes the postman.
    pub bell: Arc<Notify>,
    /// Counts what happens, for the operator.
    pub metrics: Arc<Metrics>,
}

/// Whether a verb has written a letter. The postman must be rung for it after the commit ([`Accounts::ring`]); a ring
/// before the commit would find no letter, and the letter would wait for the postman's next look, five seconds later.
#[must_use = "ring the postman after the commit, or say why it need not be rung"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Post {
    /// A letter waits in the outbox.
    Letter,
    /// Nothing was written.
    Nothing,
}

impl Accounts {
    /// Wakes the postman if there is a letter. Call it after the commit.
    pub(super) fn ring(&self, post: Post) {
        if post == Post::Letter {
            self.bell.notify_one();
        }
    }

    /// Returns the session that a cookie or token points at, if it has not ended ([`session::resume`]). `ip` is asked
    /// only if the session is written.
    pub async fn resume(
        &self,
        (kind, pointer): (SessionKind, Pointer),
        ip: impl FnOnce() -> Option<IpAddr>,
        now: OffsetDateTime,
    ) -> Result<Option<Resumed>> {
        session::resume(&self.db, (kind, pointer), self.policy.lifetimes, ip, now).await
    }

    /// Judges a new password, given what an attacker would know about the user. `hasher` says in which line it waits.
    pub(super) async fn judge(
        &self,
        hasher: &Hasher,
        typed: &str,
        about: [&str; 3],
    ) -> Result<Result<NewPassword, PasswordError>> {
        let local_parts = about.iter().filter_map(|text| text.split_once('@')).map(|(local, _)| local);
        let known: Vec<&str> = about.iter().copied().chain(local_parts).collect();
        hasher.judge(typed, &self.policy.password, &known).await
    }
}
