//! Which events of strangers are written. Every client can cause as many wrong passwords, refused attempts and refused
//! forms as its hardware can send, and each event is a row.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::rate::Rate;

/// Counts the events of strangers.
#[derive(Debug, Default)]
pub(super) struct StrangersEvents {
    buckets: Mutex<Buckets>,
}

/// When each bucket is refilled, in Unix seconds.
#[derive(Debug, Default)]
struct Buckets {
    accounts: HashMap<Option<Uuid>, i64>,
    site: i64,
    /// How many nodes count, each by itself.
    nodes: u32,
}

impl StrangersEvents {
    /// Events of one account: a hundred, and then 96 a day.
    const ACCOUNT: Rate = Rate { burst: 100, every: Duration::minutes(15) };
    /// Events without an account: a thousand, and then 1440 a day.
    const WITHOUT_ACCOUNT: Rate = Rate { burst: 1000, every: Duration::minutes(1) };
    /// All events: five thousand, and then 8640 a day. In the 90 days that events are kept that makes 200 MB at most.
    const SITE: Rate = Rate { burst: 5000, every: Duration::seconds(10) };
    /// The most accounts that are counted, about 4 MB. Accounts whose buckets are refilled make room.
    const MOST: usize = 1 << 16;

    /// Takes this node's share.
    pub(super) fn divide_among(&self, nodes: u32) {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner).nodes = nodes;
    }

    /// Returns whether one more event is written, for this account or for none.
    ///
    /// Half of the site's bucket is kept for accounts that had no event lately. A flood of guesses at one account, or at
    /// names without an account, must not hide the guesses at another account.
    pub(super) fn admit(&self, user: Option<Uuid>, now: OffsetDateTime) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.accounts.len() >= Self::MOST {
            buckets.accounts.retain(|_, refilled_at| *refilled_at > now.unix_timestamp());
        }
        let known = buckets.accounts.get(&user).copied();
        let rate = if user.is_some() { Self::ACCOUNT } else { Self::WITHOUT_ACCOUNT };
        let (rate, of_site) = (rate.divided_among(buckets.nodes), Self::SITE.divided_among(buckets.nodes));
        let Ok(refilled_at) = rate.take(known.unwrap_or(0), now) else { return false };
        let quiet = user.is_some() && known.is_none_or(|at| at <= now.unix_timestamp());
        let left = if quiet { 0 } else { of_site.burst / 2 };
        let Ok(site) = of_site.take_and_leave(left, buckets.site, now) else { return false };
        buckets.site = site;
        if known.is_some() || buckets.accounts.len() < Self::MOST {
            buckets.accounts.insert(user, refilled_at);
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
        let events = StrangersEvents::default();
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time");
        let count = |user| (0..200).filter(|_| events.admit(user, now)).count();
        let sam = Some(chance::id());
        assert_eq!(count(sam), 100);
        let of_many: usize = (0..100).map(|_| count(Some(chance::id()))).sum();
        // Each new account has one event of the other half, after all that follow have used up the first half.
        assert!((2400..2500).contains(&of_many), "{of_many}");
        assert!(events.admit(Some(chance::id()), now), "a quiet account");
        assert!(!events.admit(None, now), "events without an account are never quiet");
        assert!(!events.admit(sam, now));
        assert!(events.admit(sam, now + Duration::DAY));
        let tomorrow = now + Duration::DAY;
        let newcomers = (0..6000).filter(|_| events.admit(Some(chance::id()), tomorrow)).count();
        assert_eq!(newcomers, 4999, "there is an end to it");
    }
}
