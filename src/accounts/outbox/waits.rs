//! Letters that wait for a mail server which takes none: they are put off together, and pages say so.

use std::cmp;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{QueryOrder, QuerySelect};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::letter::Priority;
use super::{Column, Entity, LetterState, PAUSES, due, not_sent, unlocked};
use crate::accounts::Result;

/// How many letters are put off at once.
const AT_ONCE: u64 = 500;

/// Whether letters wait for the mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// No letter waits longer than it should.
    Empty,
    /// A letter is due, and the postman has not come to it yet.
    Due,
    /// The mail server did not take the letters that were attempted last.
    Stuck {
        /// Since when it has taken none, as far as the letters that wait tell.
        since: OffsetDateTime,
        /// When the next attempt is due.
        next: OffsetDateTime,
    },
}

/// Returns the pause after so many failures in a row to reach the mail server. It is a minute at most: on several nodes,
/// one of which cannot reach the mail server, no letter should wait long for another one.
pub fn pause(failures: usize) -> Duration {
    PAUSES[failures.saturating_sub(1).min(2)]
}

/// What became of the letters that were due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutOff {
    /// How many wait for another attempt.
    pub waiting: u64,
    /// How many were given up, because their deadline comes first.
    pub failed: u64,
}

/// Puts off the letters that are due by `pause`, because the mail server is out of reach. This is no attempt to send any of
/// them. Those whose deadline comes first are given up.
pub async fn put_off_due(
    conn: &impl ConnectionTrait,
    why: &str,
    pause: Duration,
    now: OffsetDateTime,
) -> Result<PutOff> {
    let ids = Entity::find().select_only().column(Column::Id).filter(due(now)).order_by_asc(Column::Priority);
    let ids = ids.order_by_asc(Column::NextAttemptAt).limit(AT_ONCE).into_tuple::<Uuid>().all(conn).await?;
    let next = now + pause;
    let change = |state, expired: bool| {
        let deadline = if expired { Column::Deadline.lte(next) } else { Column::Deadline.gt(next) };
        let letters = due(now).add(Column::Id.is_in(ids.clone())).add(deadline);
        Entity::update_many()
            .set(not_sent(state, next, why, Some(now)))
            .filter(Column::Id.in_subquery(unlocked(letters)))
    };
    let mut put_off = PutOff::default();
    if !ids.is_empty() {
        put_off.failed = change(LetterState::Failed, true).exec(conn).await?.rows_affected;
        put_off.waiting = change(LetterState::Waiting, false).exec(conn).await?.rows_affected;
    }
    Ok(put_off)
}

/// Returns whether letters wait for the mail server, as all nodes see it.
///
/// Every client may learn this. So it must not depend on letters that exist only if an address has an account: an attacker
/// could ask for a reset, and see here whether its letter waits. Resets count until their address is looked up, which
/// happens only after the mail server has answered (`mail::postman`). Later neither their failures nor their successes
/// count. News that is due does not count either: it waits for passwords, too, and would tell that somebody has logged in.
pub async fn queue(conn: &impl ConnectionTrait, now: OffsetDateTime) -> Result<Queue> {
    let waiting = Column::State.eq(LetterState::Waiting).and(Column::Priority.ne(Priority::Reset));
    // This comes first: a letter that is put off between the two statements is in the second one.
    let due = Entity::find().select_only().column(Column::Id).filter(due(now)).filter(waiting.clone());
    let due = due.filter(Column::Priority.ne(Priority::Owner)).filter(Column::FailedAt.is_null());
    let due = due.limit(1).into_tuple::<Uuid>().one(conn).await?;
    let failed = Entity::find().select_only().filter(waiting).filter(Column::FailedAt.is_not_null());
    let failed = failed.expr(Column::FailedAt.max()).expr(Column::CreatedAt.min()).expr(Column::NextAttemptAt.min());
    type Times = (Option<OffsetDateTime>, Option<OffsetDateTime>, Option<OffsetDateTime>);
    if let Some((Some(last), Some(oldest), Some(next))) = failed.into_tuple::<Times>().one(conn).await? {
        let taken = last_taken(conn).await?;
        // A single letter that a recipient's server refuses for now says nothing about the others.
        if taken < Some(last) {
            return Ok(Queue::Stuck { since: cmp::max(oldest, taken.unwrap_or(oldest)), next });
        }
    }
    Ok(if due.is_some() { Queue::Due } else { Queue::Empty })
}

/// Returns when the mail server has last taken a letter that is no reset.
async fn last_taken(conn: &impl ConnectionTrait) -> Result<Option<OffsetDateTime>> {
    let newest = async |priority| -> Result<Option<OffsetDateTime>> {
        let sent = Entity::find().select_only().column(Column::SentAt).filter(Column::State.eq(LetterState::Sent));
        // The newest one by the index, and not by `sent_at`, because there are many.
        let newest = sent.filter(Column::Priority.eq(priority)).order_by_desc(Column::NextAttemptAt).limit(1);
        Ok(newest.into_tuple::<Option<OffsetDateTime>>().one(conn).await?.flatten())
    };
    Ok(cmp::max(newest(Priority::Owner).await?, newest(Priority::Stranger).await?))
}
