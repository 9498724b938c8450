//! How often something may be tried: the arithmetic ([`Rate`]), and the counters of clients ([`Throttle`]).
//!
//! What counts tries at one account is in the database (`accounts::limit`), where it survives a restart. A client's
//! counter is in memory, so that a flood is turned away before it costs a statement.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use time::{Duration, OffsetDateTime};

/// So many tries at once, and after them one every so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// How often one more, in whole seconds.
    pub every: Duration,
}

impl Rate {
    /// Takes one try: GCRA, the generic cell rate algorithm (ITU-T I.371), also known as a leaky bucket as a meter.
    ///
    /// One number is all there is to keep: the time when the bucket will be whole again, in Unix seconds. A key
    /// that was never seen has 0. Returns that time with this try in it.
    ///
    /// # Errors
    /// How long to wait for the next try.
    pub fn take(self, whole_at: i64, now: OffsetDateTime) -> Result<i64, Duration> {
        let (now, every) = (now.unix_timestamp(), self.every.whole_seconds());
        let mut ahead = (whole_at - now).max(0);
        // Further ahead than attempts can bring it: the clock ran ahead when they were counted, and was set right since.
        // Counted as it is, an hour or a year of that would lock the client out for as long. Such a bucket has one
        // attempt left, which writes an ordinary state again. One `every` more is left to clocks that differ a little.
        if ahead > self.room() + 2 * every {
            ahead = self.room();
        }
        match ahead - self.room() {
            over if over > 0 => Err(Duration::seconds(over)),
            _ => Ok(now + ahead + every),
        }
    }

    /// How far ahead of now the bucket may be for one more try to fit, in seconds.
    pub fn room(self) -> i64 {
        i64::from(self.burst.saturating_sub(1)) * self.every.whole_seconds()
    }
}

/// A try that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// It was the last one for now.
    pub last: bool,
}

/// What a client may do only so often, whatever account it is about. Generous, because an office or a whole
/// provider may share one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Passwords that are not right. One that is right is given back.
    LogIn,
    /// Passwords in browsers that the account knows, right ones too. An attacker with many accounts of their own in one
    /// browser could otherwise keep the hashing threads busy.
    KnownLogIn,
    /// Forms that ask for an account.
    SignUp,
    /// Forms that ask for a letter.
    Letter,
    /// Forms behind a link in a letter.
    Link,
    /// What is noted of a client that is turned away.
    Note,
}

impl Limit {
    /// How often.
    pub fn rate(self) -> Rate {
        match self {
            Self::LogIn | Self::Link => Rate { burst: 30, every: Duration::seconds(20) },
            Self::KnownLogIn => Rate { burst: 300, every: Duration::seconds(1) },
            Self::Note => Rate { burst: 5, every: Duration::seconds(60) },
            Self::SignUp | Self::Letter => Rate { burst: 30, every: Duration::seconds(120) },
        }
    }
}

/// Counts what clients try.
#[derive(Debug)]
pub struct Throttle {
    on: bool,
    whole_at: Mutex<HashMap<(Limit, IpAddr), i64>>,
}

impl Throttle {
    /// The most counters that are kept between two sweeps, about 6 MB. Beyond that clients that are new go uncounted: a net of so
    /// many machines is not held by counting each, and if newcomers were refused, it could lock out everybody.
    const MOST: usize = 1 << 16;

    /// Counts nothing unless it is `on`.
    pub fn new(on: bool) -> Self {
        Self { on, whole_at: Mutex::default() }
    }

    /// Takes one of the client's tries. It is taken before the work, not after: a thousand tries at once would
    /// otherwise all find the bucket as it was before the first of them.
    ///
    /// # Errors
    /// How long the client has to wait.
    pub fn take(&self, limit: Limit, ip: &str, now: OffsetDateTime) -> Result<Taken, Duration> {
        if !self.on {
            return Ok(Taken { last: false });
        }
        let mut all = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (limit, client(ip));
        if all.len() >= Self::MOST && !all.contains_key(&key) {
            return if limit == Limit::Note { Err(limit.rate().every) } else { Ok(Taken { last: false }) };
        }
        let whole_at = all.entry(key).or_default();
        *whole_at = limit.rate().take(*whole_at, now)?;
        Ok(Taken { last: limit.rate().take(*whole_at, now).is_err() })
    }

    /// Gives a try back.
    pub fn give_back(&self, limit: Limit, ip: &str) {
        let mut all = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(whole_at) = all.get_mut(&(limit, client(ip))) {
            *whole_at -= limit.rate().every.whole_seconds();
        }
    }

    /// Forgets the clients whose buckets are whole again.
    pub fn sweep(&self, now: OffsetDateTime) {
        let mut all = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, whole_at| *whole_at > now.unix_timestamp());
        all.shrink_to_fit();
    }
}

/// The client at an address. Whoever has none is one with all others who have none.
pub fn client(ip: &str) -> IpAddr {
    ip.parse().map_or(Ipv6Addr::UNSPECIFIED.into(), network)
}

/// Whom an address stands for: itself, or its /64 in IPv6, which gives everybody one to have any address in.
pub fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).expect("a time")
    }

    #[test]
    fn a_rate_lets_a_burst_through_and_then_one_every_so_often() {
        let rate = Rate { burst: 3, every: Duration::seconds(60) };
        let mut whole_at = 0;
        for _ in 0..3 {
            whole_at = rate.take(whole_at, at(0)).expect("room");
        }
        assert_eq!(rate.take(whole_at, at(0)), Err(Duration::seconds(60)));
        assert_eq!(rate.take(whole_at, at(59)), Err(Duration::seconds(1)));
        whole_at = rate.take(whole_at, at(60)).expect("room for one");
        assert_eq!(rate.take(whole_at, at(60)), Err(Duration::seconds(60)));
        for _ in 0..3 {
            whole_at = rate.take(whole_at, at(1000)).expect("whole again, and no more than whole");
        }
        assert!(rate.take(whole_at, at(1000)).is_err());
    }

    #[test]
    fn a_clock_that_ran_ahead_leaves_one_attempt_and_an_ordinary_state() {
        let rate = Rate { burst: 3, every: Duration::seconds(60) };
        for ahead in [241, 3600, 31_536_000] {
            let whole_at = rate.take(at(ahead).unix_timestamp(), at(0)).expect("one attempt");
            assert_eq!(rate.take(whole_at, at(0)), Err(Duration::seconds(60)), "{ahead}");
            assert!(rate.take(whole_at, at(60)).is_ok(), "{ahead}");
        }
        assert!(rate.take(at(240).unix_timestamp(), at(0)).is_err(), "a clock that differs a little is no gift");
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        for (a, b, same) in [
            ("203.0.113.9", "203.0.113.9", true),
            ("203.0.113.9", "::ffff:203.0.113.9", true),
            ("203.0.113.9", "203.0.113.8", false),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::1", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
        ] {
            let throttle = Throttle::new(true);
            while throttle.take(Limit::LogIn, a, at(0)).is_ok() {}
            assert_eq!(throttle.take(Limit::LogIn, b, at(0)).is_err(), same, "{a} {b}");
            assert!(throttle.take(Limit::SignUp, a, at(0)).is_ok(), "each limit has counters of its own");
            throttle.give_back(Limit::LogIn, a);
            assert!(throttle.take(Limit::LogIn, a, at(0)).is_ok(), "what is given back can be taken");
        }
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory_than_planned_and_keeps_nobody_out() {
        let throttle = Throttle::new(true);
        let ip = |n: usize| format!("2001:db8:{:x}:{:x}::1", n >> 16, n & 0xffff);
        for n in 0..Throttle::MOST + 5000 {
            assert!(throttle.take(Limit::LogIn, &ip(n), at(0)).is_ok());
        }
        assert_eq!(throttle.whole_at.lock().expect("no panic").len(), Throttle::MOST);
        while throttle.take(Limit::LogIn, &ip(0), at(0)).is_ok() {}
        assert!(throttle.take(Limit::LogIn, "203.0.113.9", at(0)).is_ok());
        throttle.sweep(at(3600));
        assert_eq!(throttle.whole_at.lock().expect("no panic").len(), 0);
    }
}
