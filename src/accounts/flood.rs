//! What keeps a flood of strangers small: their resets are sorted many at a time, and only so many of their events are
//! written.
//!
//! How many forms of strangers are let in at all is in [`crate::throttle`], how many of their rows are kept in the sweep
//! of each table.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{QuerySelect, Set};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::accounts::outbox::letter::Priority;
use crate::accounts::outbox::{ActiveModel, Column, Entity, State};
use crate::accounts::user::email::Email;
use crate::accounts::{Result, user};
use crate::db::Db;
use crate::throttle::Rate;

/// Looks up the addresses of resets that were asked for: those that have an account go to the front, the others are
/// dropped.
///
/// A request for a reset looks nothing up, so that its work does not tell who has an account, and an attacker can ask for
/// resets of addresses of nobody. One by one, each of them would cost the postman two writes, and an honest reset
/// waited 24 seconds behind 20 000 of them. So they are sorted many at a time.
pub(super) async fn sort(db: &Db, now: OffsetDateTime) -> Result<()> {
    const AT_ONCE: u64 = 500;
    loop {
        // Only those that are there already: as long as a flood lasts more come, and no letter would ever go out.
        let unsorted = Column::State.eq(State::Waiting).and(Column::Priority.eq(Priority::Unsorted));
        let unsorted = unsorted.and(Column::NextAttemptAt.lte(now));
        let rows = Entity::find().select_only().column(Column::Id).column(Column::ToAddress);
        let rows = rows.filter(unsorted.clone()).limit(AT_ONCE).into_tuple::<(Uuid, String)>().all(db.read()).await?;
        let canonical = |to: &str| Email::parse(to).ok().map(|email| email.canonical().to_owned());
        let asked: Vec<_> = rows.into_iter().map(|(id, to)| (id, canonical(&to))).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let found = user::with_account(db.read(), asked.iter().filter_map(|(_, to)| to.clone())).await?;
        let has_account = |to: &Option<String>| to.as_ref().is_some_and(|to| found.contains(to));
        let (owners, nobodys): (Vec<_>, Vec<_>) = asked.iter().partition(|(_, to)| has_account(to));
        let first = ActiveModel { priority: Set(Priority::Reset), ..Default::default() };
        let dropped = ActiveModel { state: Set(State::Dropped), ..Default::default() };
        for (rows, change) in [(owners, first), (nobodys, dropped)] {
            if !rows.is_empty() {
                let these = Column::Id.is_in(rows.into_iter().map(|(id, _)| *id)).and(unsorted.clone());
                Entity::update_many().set(change).filter(these).exec(db.write()).await?;
            }
        }
        if (asked.len() as u64) < AT_ONCE {
            return Ok(());
        }
    }
}

/// Which events of strangers are written. Anybody can cause as many wrong passwords, limits and refused forms as their
/// hardware can send.
#[derive(Debug, Default)]
pub(super) struct Events {
    whole_at: Mutex<WholeAt>,
}

/// When each bucket will be whole again, in Unix seconds.
#[derive(Debug, Default)]
struct WholeAt {
    accounts: HashMap<Option<Uuid>, i64>,
    site: i64,
}

impl Events {
    /// At one account, or at none: a hundred, and then 96 a day.
    const ACCOUNT: Rate = Rate { burst: 100, every: Duration::minutes(15) };
    /// At nobody's account: a thousand, and then 1440 a day.
    const NOBODYS: Rate = Rate { burst: 1000, every: Duration::minutes(1) };
    /// At all of them: five thousand, and then 8640 a day. In the 90 days that events are kept that makes 200 MB at most.
    const SITE: Rate = Rate { burst: 5000, every: Duration::seconds(10) };
    /// The most accounts that are counted, about 4 MB. Those whose buckets are whole again make room.
    const MOST: usize = 1 << 16;

    /// Returns whether one more event of strangers is written, for this account or for none.
    ///
    /// Half of the site's bucket is kept for accounts at which nothing happened lately: a flood of guesses at one account, or
    /// at names that nobody has, must not hide the guesses at another.
    pub(super) fn admit(&self, user: Option<Uuid>, now: OffsetDateTime) -> bool {
        let mut all = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        if all.accounts.len() >= Self::MOST {
            all.accounts.retain(|_, whole_at| *whole_at > now.unix_timestamp());
        }
        let known = all.accounts.get(&user).copied();
        let rate = if user.is_some() { Self::ACCOUNT } else { Self::NOBODYS };
        let Ok(whole_at) = rate.take(known.unwrap_or(0), now) else { return false };
        let quiet = user.is_some() && known.is_none_or(|at| at <= now.unix_timestamp());
        let left = if quiet { 0 } else { Self::SITE.burst / 2 };
        let Ok(site) = Self::SITE.take_and_leave(left, all.site, now) else { return false };
        all.site = site;
        if known.is_some() || all.accounts.len() < Self::MOST {
            all.accounts.insert(user, whole_at);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance;

    #[test]
    fn guesses_at_one_account_or_at_many_hide_none_at_an_account_that_was_quiet() {
        let events = Events::default();
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time");
        let count = |user| (0..200).filter(|_| events.admit(user, now)).count();
        let sam = Some(chance::id());
        assert_eq!(count(sam), 100);
        let of_many: usize = (0..100).map(|_| count(Some(chance::id()))).sum();
        // Each new account has one of the other half, after the first half is used up by all that follow.
        assert!((2400..2500).contains(&of_many), "{of_many}");
        assert!(events.admit(Some(chance::id()), now), "a quiet account");
        assert!(!events.admit(None, now), "nobody's account is never quiet");
        assert!(!events.admit(sam, now));
        assert!(events.admit(sam, now + Duration::DAY));
        let tomorrow = now + Duration::DAY;
        let newcomers = (0..6000).filter(|_| events.admit(Some(chance::id()), tomorrow)).count();
        assert_eq!(newcomers, 4999, "there is an end to it");
    }
}
