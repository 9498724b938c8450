//! The arithmetic of limits.

use time::{Duration, OffsetDateTime};

/// A number of attempts at once, and after them one more per period.
///
/// This is not the `governor` crate: a right password gives its attempt back, the counters of accounts are in the
/// database, and tests hand in the time. Five lines of the crate would be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::accounts) struct Rate {
    /// How many attempts at once.
    pub burst: u32,
    /// The time in which one more attempt is refilled: whole seconds, or whole milliseconds for counters in memory.
    pub every: Duration,
}

impl Rate {
    /// Takes one attempt: GCRA, the generic cell rate algorithm (ITU-T I.371), also known as a leaky bucket as a meter.
    ///
    /// One number per key is stored: the Unix time in seconds at which its bucket is refilled. A key that was never seen
    /// has 0. Returns that time after this attempt.
    ///
    /// # Errors
    /// How long to wait for the next attempt.
    pub fn take(self, refilled_at: i64, now: OffsetDateTime) -> Result<i64, Duration> {
        self.take_and_leave(0, refilled_at, now)
    }

    /// Takes one attempt as [`Rate::take`] does, if `left` attempts of the burst remain afterwards.
    ///
    /// # Errors
    /// How long to wait for the next attempt.
    pub fn take_and_leave(self, left: u32, refilled_at: i64, now: OffsetDateTime) -> Result<i64, Duration> {
        let taken = gcra(refilled_at, now.unix_timestamp(), self.every.whole_seconds(), self.burst, left);
        taken.map_err(Duration::seconds)
    }

    /// Takes one attempt as [`Rate::take_and_leave`] does, with both times in Unix milliseconds. The wait is rounded up
    /// to whole seconds.
    pub fn take_in_ms(self, left: u32, refilled_at: i64, now: i64) -> Result<i64, Duration> {
        gcra(refilled_at, now, self.every_ms(), self.burst, left).map_err(|wait| Duration::seconds((wait + 999) / 1000))
    }

    /// Returns the rate of this many clients together.
    pub fn times(self, clients: u32) -> Self {
        Self { burst: self.burst * clients, every: self.every / clients }
    }

    /// Returns the share of one of several nodes, each of which counts by itself. Together they let in as much as one does, or
    /// [`Rate::LEAST`] at once for each node: with fewer, a user who mistypes a password would be refused.
    pub fn divided_among(self, nodes: u32) -> Self {
        let nodes = nodes.max(1);
        Self { burst: self.burst.div_ceil(nodes).max(self.burst.min(Self::LEAST)), every: self.every * nodes }
    }

    /// The smallest burst that a limit is divided into.
    const LEAST: u32 = 5;

    /// Returns the period in milliseconds.
    pub fn every_ms(self) -> i64 {
        i64::try_from(self.every.whole_milliseconds()).unwrap_or(i64::MAX)
    }
}

/// Takes one attempt in any unit of time, if `left` attempts of the burst remain afterwards. Returns when the bucket is
/// refilled, or how long to wait.
fn gcra(refilled_at: i64, now: i64, every: i64, burst: u32, left: u32) -> Result<i64, i64> {
    // How far ahead of now the bucket may be for one more attempt to fit.
    let room = |burst: u32| i64::from(burst.saturating_sub(1)) * every;
    let mut ahead = (refilled_at - now).max(0);
    // Attempts cannot bring a bucket further ahead than this. If it is, the clock ran ahead when they were counted, and was
    // set right since. Counted as it is, an error of a year would lock the client out for a year. Such a bucket has one
    // attempt left, which writes an ordinary state again. One more period is left to clocks that differ a little.
    if ahead > room(burst) + 2 * every {
        ahead = room(burst.saturating_sub(left));
    }
    match ahead - room(burst.saturating_sub(left)) {
        over if over > 0 => Err(over),
        _ => Ok(now + ahead + every),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).expect("a time")
    }

    #[test]
    fn a_rate_lets_a_burst_through_and_then_one_attempt_per_period() {
        let rate = Rate { burst: 3, every: Duration::seconds(60) };
        let mut refilled_at = 0;
        for _ in 0..3 {
            refilled_at = rate.take(refilled_at, at(0)).expect("room");
        }
        assert_eq!(rate.take(refilled_at, at(0)), Err(Duration::seconds(60)));
        assert_eq!(rate.take(refilled_at, at(59)), Err(Duration::seconds(1)));
        refilled_at = rate.take(refilled_at, at(60)).expect("room for one");
        assert_eq!(rate.take(refilled_at, at(60)), Err(Duration::seconds(60)));
        for _ in 0..3 {
            refilled_at = rate.take(refilled_at, at(1000)).expect("refilled, and not more than that");
        }
        assert!(rate.take(refilled_at, at(1000)).is_err());
    }

    #[test]
    fn the_shares_of_several_nodes_are_one_limit_as_long_as_each_can_be_used() {
        let rate = Rate { burst: 30, every: Duration::seconds(20) };
        let divided = |nodes| (rate.divided_among(nodes).burst, rate.divided_among(nodes).every.whole_seconds());
        assert_eq!([0, 1, 2, 6, 20].map(divided), [(30, 20), (30, 20), (15, 40), (5, 120), (5, 400)]);
        let few = Rate { burst: 3, ..rate };
        assert_eq!(few.divided_among(2), Rate { burst: 3, every: Duration::seconds(40) });
    }

    #[test]
    fn a_clock_that_ran_ahead_leaves_one_attempt_and_an_ordinary_state() {
        let rate = Rate { burst: 3, every: Duration::seconds(60) };
        for ahead in [241, 3600, 31_536_000] {
            let refilled_at = rate.take(at(ahead).unix_timestamp(), at(0)).expect("one attempt");
            assert_eq!(rate.take(refilled_at, at(0)), Err(Duration::seconds(60)), "{ahead}");
            assert!(rate.take(refilled_at, at(60)).is_ok(), "{ahead}");
        }
        assert!(rate.take(at(240).unix_timestamp(), at(0)).is_err(), "a clock that differs a little gives no attempt");
    }
}
