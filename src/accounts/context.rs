//! What verbs work with.

use std::net::IpAddr;
use std::sync::Arc;

use time::OffsetDateTime;
use tokio::sync::Notify;

use crate::accounts::limit::Limits;
use crate::accounts::limit::accounts::Bucket;
use crate::accounts::password::argon::Verdict;
use crate::accounts::password::hasher::Hasher;
use crate::accounts::password::{HashedPassword, NewPassword, Password, PasswordError};
use crate::accounts::policy::Policy;
use crate::accounts::refresh_token::RefreshTokens;
use crate::accounts::session::SessionKind;
use crate::accounts::session::resume::{Resumed, Sessions};
use crate::accounts::signing_key::SigningKeys;
use crate::accounts::{Fault, Result};
use crate::db::Db;
use crate::keys::Pointer;
use crate::metrics::Metrics;

/// The context of every verb. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// The tables.
    pub db: Db,
    /// Finds who is logged in.
    pub sessions: Arc<Sessions>,
    /// Hashes passwords.
    pub hasher: Hasher,
    /// Signs the tokens of apps.
    pub signing: Arc<SigningKeys>,
    /// Makes and reads the refresh tokens of apps.
    pub refresh: Arc<RefreshTokens>,
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
/// before the commit would find no letter, and the letter would wait for the postman's next look.
#[must_use = "ring the postman after the commit, or say why it need not be rung"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Post {
    /// A letter waits in the outbox, and someone waits for the letter.
    Letter,
    /// A letter with news waits in the outbox.
    News,
    /// No new letter is due.
    Nothing,
}

impl Accounts {
    /// Wakes the postman if there is a letter. Call it after the commit.
    ///
    /// News waits while passwords wait for a thread, until the postman looks without a ring. Sending an email takes a fifth of the
    /// processor time of a hash, and a crowd's log-ins in new browsers are done that much sooner.
    pub(super) fn ring(&self, post: Post) {
        let rings = match post {
            Post::Letter => true,
            Post::News => self.hasher.waiting() == 0,
            Post::Nothing => false,
        };
        if rings {
            self.bell.notify_one();
        }
    }

    /// Returns the session that a cookie or token points at, if it has not ended ([`Sessions::resume`]). `ip` is called
    /// only if the session is written.
    pub async fn resume(
        &self,
        (kind, pointer): (SessionKind, Pointer),
        ip: impl FnOnce() -> Option<IpAddr>,
        now: OffsetDateTime,
    ) -> Result<Option<Resumed>> {
        self.sessions.resume((kind, pointer), self.policy.lifetimes, ip, now).await
    }

    /// Compares a password with a stored hash, for an attempt that was taken from these buckets. The attempt is given back if
    /// the password was not looked at.
    pub(super) async fn compare(
        &self,
        hasher: &Hasher,
        (password, stored): (Password, Option<HashedPassword>),
        buckets: &[Bucket],
    ) -> Result<Verdict> {
        let verdict = hasher.verify(password, stored).await;
        if let Err(Fault::Busy) = verdict {
            self.limits.accounts.give_back(&self.db, buckets).await?;
        }
        verdict
    }

    /// Judges a new password, given what an attacker would know about the user. `hasher` is the one of the context, or
    /// its [`Hasher::for_the_known`] for a user with a link or a session.
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
