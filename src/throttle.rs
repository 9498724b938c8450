//! How often something may be tried: the arithmetic ([`Rate`]), and the counters of clients ([`Throttle`]).
//!
//! What counts tries at one account is in the database (`accounts::limit`), where it survives a restart. A client's
//! counter is in memory, so that a flood is turned away before it costs a statement.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use time::{Duration, OffsetDateTime};

/// So many tries at once, and after them one every so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// How often one more: in whole seconds, or in whole milliseconds for what is counted in memory.
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
        self.take_and_leave(0, whole_at, now)
    }

    /// As [`Rate::take`], if so many attempts of the burst are left afterwards.
    ///
    /// # Errors
    /// As [`Rate::take`].
    pub fn take_and_leave(self, left: u32, whole_at: i64, now: OffsetDateTime) -> Result<i64, Duration> {
        let taken = gcra(whole_at, now.unix_timestamp(), self.every.whole_seconds(), self.burst, left);
        taken.map_err(Duration::seconds)
    }

    /// As [`Rate::take_and_leave`], with both times in Unix milliseconds. The wait is rounded up to whole seconds.
    fn take_in_ms(self, left: u32, whole_at: i64, now: i64) -> Result<i64, Duration> {
        gcra(whole_at, now, every_ms(self), self.burst, left).map_err(|wait| Duration::seconds((wait + 999) / 1000))
    }

    /// The rate of so many clients together.
    fn times(self, clients: u32) -> Self {
        Self { burst: self.burst * clients, every: self.every / clients }
    }
}

/// Takes one attempt in any unit of time, if so many are `left` of the burst afterwards: returns when the bucket will be
/// refilled, or how long to wait.
fn gcra(whole_at: i64, now: i64, every: i64, burst: u32, left: u32) -> Result<i64, i64> {
    // How far ahead of now the bucket may be for one more attempt to fit.
    let room = |burst: u32| i64::from(burst.saturating_sub(1)) * every;
    let mut ahead = (whole_at - now).max(0);
    // Further ahead than attempts can bring it: the clock ran ahead when they were counted, and was set right since.
    // Counted as it is, an hour or a year of that would lock the client out for as long. Such a bucket has one
    // attempt left, which writes an ordinary state again. One `every` more is left to clocks that differ a little.
    if ahead > room(burst) + 2 * every {
        ahead = room(burst.saturating_sub(left));
    }
    match ahead - room(burst.saturating_sub(left)) {
        over if over > 0 => Err(over),
        _ => Ok(now + ahead + every),
    }
}

/// A try that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// It was the last one for now.
    pub last: bool,
}

/// Why there is no attempt left, and how long to wait for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// This client has used up its own, or those of a network that it is in.
    Client(Duration),
    /// All clients together have used up the site's.
    Site(Duration),
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
    /// Forms that ask for an account, or once more for its letter.
    SignUp,
    /// Forms that ask for a letter.
    Letter,
    /// The same, from a browser that the account of the address knows.
    OwnLetter,
    /// Forms behind a link in a letter.
    Link,
    /// Forms of a page whose session has ended, which are kept until the next log-in.
    Draft,
    /// What is noted of a client that is turned away.
    Note,
}

impl Limit {
    /// How often one client may: an IPv4 address, or an IPv6 /64.
    pub fn rate(self) -> Rate {
        match self {
            Self::LogIn | Self::Link | Self::Draft => Rate { burst: 30, every: Duration::seconds(20) },
            Self::KnownLogIn => Rate { burst: 300, every: Duration::seconds(1) },
            Self::Note => Rate { burst: 5, every: Duration::seconds(60) },
            Self::SignUp | Self::Letter | Self::OwnLetter => Rate { burst: 30, every: Duration::seconds(120) },
        }
    }

    /// How often all clients together may, where each time leaves rows behind. These rates bound what strangers can
    /// write in a day, and with the caps of the sweeps what the tables hold (ARCHITECTURE.md, “Floods”). They are far
    /// above what a site needs, or a small botnet could use them up and so keep new people out: one that asks
    /// for letters needs 6000 addresses for that, because each has one in two minutes.
    ///
    /// Log-ins have none: the line for the hash is their bound. Nor have links, which leave nothing behind, and an
    /// owner's browser, which a flood of strangers must not keep from a reset.
    fn of_the_site(self) -> Option<Rate> {
        match self {
            Self::SignUp => Some(Rate { burst: 2000, every: Duration::milliseconds(200) }),
            Self::Letter | Self::Draft => Some(Rate { burst: 10_000, every: Duration::milliseconds(20) }),
            Self::LogIn | Self::KnownLogIn | Self::Link | Self::OwnLetter | Self::Note => None,
        }
    }
}

/// Counts what clients try.
#[derive(Debug)]
pub struct Throttle {
    on: bool,
    buckets: Mutex<Buckets>,
}

/// When each bucket will be whole again, in Unix milliseconds.
#[derive(Debug, Default)]
struct Buckets {
    networks: HashMap<(Limit, IpNet), Counter>,
    site: HashMap<Limit, i64>,
    swept_at: i64,
}

/// What is kept of a network.
#[derive(Clone, Copy, Debug)]
struct Counter {
    /// When its bucket will be refilled, in Unix milliseconds.
    whole_at: i64,
    /// When one client that asked last would count as a newcomer again. The bucket of a /48 is refilled 32 times as
    /// fast: if that counted, 19 of them would keep every newcomer out of the site.
    newcomer_at: i64,
}

impl Throttle {
    /// Counts nothing unless it is `on`.
    pub fn new(on: bool) -> Self {
        Self { on, buckets: Mutex::default() }
    }

    /// Takes one of the client's tries. It is taken before the work, not after: a thousand tries at once would
    /// otherwise all find the bucket as it was before the first of them.
    ///
    /// An IPv6 client takes it from its /64, its /56 and its /48 at once: providers give a /56 to a household and a
    /// /48 to anybody who asks (RIPE-690), and a /48 has 65 536 of the networks that count as one client.
    ///
    /// # Errors
    /// How long the client has to wait. Nothing is taken then.
    pub fn take(&self, limit: Limit, ip: &str, now: OffsetDateTime) -> Result<Taken, Full> {
        if !self.on {
            return Ok(Taken { last: false });
        }
        self.lock().take(limit, ip, in_ms(now))
    }

    /// Gives a try back.
    pub fn give_back(&self, limit: Limit, ip: &str) {
        self.lock().give_back(limit, ip);
    }

    /// Forgets the clients whose buckets are whole again.
    pub fn sweep(&self, now: OffsetDateTime) {
        self.lock().sweep(in_ms(now));
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buckets {
    /// The most counters that are kept, about 5 MB. Beyond that clients that are new go uncounted: if they were refused, a
    /// net of so many machines could lock out everybody. What they can do then is bounded by the site's own bucket
    /// and by the line for the hash.
    const MOST: usize = 1 << 16;

    fn take(&mut self, limit: Limit, ip: &str, now: i64) -> Result<Taken, Full> {
        // Looks at the buckets at most once a second, or a flood of new addresses would make each request do it.
        if self.networks.len() >= Self::MOST && now - self.swept_at >= 1000 {
            self.sweep(now);
        }
        let (mut taken, mut last, mut newcomer) = (Vec::with_capacity(3), false, false);
        for (network, clients) in networks(address(ip)) {
            let (key, rate) = ((limit, network), limit.rate().times(clients));
            let known = self.networks.get(&key).copied();
            let whole_at =
                rate.take_in_ms(0, known.map_or(0, |counter| counter.whole_at), now).map_err(Full::Client)?;
            last |= rate.take_in_ms(0, whole_at, now).is_err();
            // The last one, which is the largest network, decides.
            newcomer = known.is_none_or(|counter| counter.newcomer_at <= now);
            taken.push((key, Counter { whole_at, newcomer_at: now + every_ms(limit.rate()) }));
        }
        let room = Self::MOST.saturating_sub(self.networks.len());
        let uncounted = taken.iter().filter(|(key, _)| !self.networks.contains_key(key)).count() > room;
        if uncounted && limit == Limit::Note {
            return Err(Full::Client(limit.rate().every));
        }
        if let Some(rate) = limit.of_the_site() {
            // Half of the site's room is kept for clients that have asked for nothing lately. So those who flood
            // the site slow each other down, and not the person who forgot a password. A client that is not
            // counted could be anybody.
            let left = if newcomer && !uncounted { 0 } else { rate.burst / 2 };
            let site = self.site.entry(limit).or_default();
            *site = rate.take_in_ms(left, *site, now).map_err(Full::Site)?;
        }
        if !uncounted {
            self.networks.extend(taken);
        }
        Ok(Taken { last })
    }

    fn give_back(&mut self, limit: Limit, ip: &str) {
        for (network, clients) in networks(address(ip)) {
            if let Some(counter) = self.networks.get_mut(&(limit, network)) {
                counter.whole_at -= every_ms(limit.rate().times(clients));
            }
        }
        if let Some((whole_at, rate)) = self.site.get_mut(&limit).zip(limit.of_the_site()) {
            *whole_at -= every_ms(rate);
        }
    }

    fn sweep(&mut self, now: i64) {
        self.networks.retain(|_, counter| counter.whole_at.max(counter.newcomer_at) > now);
        self.networks.shrink_to_fit();
        self.swept_at = now;
    }
}

fn every_ms(rate: Rate) -> i64 {
    i64::try_from(rate.every.whole_milliseconds()).unwrap_or(i64::MAX)
}

fn in_ms(now: OffsetDateTime) -> i64 {
    i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// The networks that an address counts for, the smallest first, and how many clients each of them may be. An
/// IPv4 address is one by itself. A /48 may be a university or a provider of phones, so it has room for many.
pub fn networks(ip: IpAddr) -> impl Iterator<Item = (IpNet, u32)> {
    const V4: &[(u8, u32)] = &[(32, 1)];
    const V6: &[(u8, u32)] = &[(64, 1), (56, 4), (48, 32)];
    let ip = ip.to_canonical();
    let sizes = if ip.is_ipv4() { V4 } else { V6 };
    sizes.iter().filter_map(move |(prefix, clients)| Some((IpNet::new(ip, *prefix).ok()?.trunc(), *clients)))
}

/// The address. A client that has none is one with all others that have none.
fn address(ip: &str) -> IpAddr {
    ip.parse::<IpAddr>().map_or(Ipv6Addr::UNSPECIFIED.into(), |ip| ip.to_canonical())
}

/// The client at an address. Whoever has none is one with all others who have none.
pub fn client(ip: &str) -> IpAddr {
    network(address(ip))
}

/// The largest network around an address that is somebody's: the /48 in IPv6, of which anybody can get one.
pub fn widest(ip: &str) -> IpAddr {
    networks(address(ip)).last().map_or(address(ip), |(network, _)| network.addr())
}

/// Whom an address stands for: itself, or its /64 in IPv6, which gives everybody one to have any address in.
fn network(ip: IpAddr) -> IpAddr {
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
    fn what_one_network_refuses_is_taken_from_none() {
        let throttle = Throttle::new(true);
        let ip = |n: usize| format!("2001:db8:1:{n:x}::1");
        // Four clients use the /56 up; the fifth is refused, and loses nothing by it.
        for n in 0..4 {
            while throttle.take(Limit::LogIn, &ip(n), at(0)).is_ok() {}
        }
        for _ in 0..100 {
            assert_eq!(throttle.take(Limit::LogIn, &ip(4), at(0)), Err(Full::Client(Duration::seconds(5))));
        }
        throttle.give_back(Limit::LogIn, &ip(0));
        assert_eq!(throttle.take(Limit::LogIn, &ip(4), at(0)), Ok(Taken { last: true }));
        // All that is left of its own, as soon as the /56 is whole again.
        let left = (0..100).filter(|_| throttle.take(Limit::LogIn, &ip(4), at(600)).is_ok()).count();
        assert_eq!(left, 30);
        assert!(throttle.take(Limit::LogIn, "2001:db8:1:100::1", at(600)).is_ok(), "another /56 in this /48");
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory_than_planned_and_keeps_nobody_out() {
        let throttle = Throttle::new(true);
        let ip = |n: usize| format!("{}.{}.{}.{}", n >> 24, n >> 16 & 0xff, n >> 8 & 0xff, n & 0xff);
        for n in 0..Buckets::MOST + 5000 {
            assert!(throttle.take(Limit::LogIn, &ip(n), at(0)).is_ok());
        }
        assert_eq!(throttle.lock().networks.len(), Buckets::MOST);
        while throttle.take(Limit::LogIn, &ip(0), at(0)).is_ok() {}
        assert!(throttle.take(Limit::LogIn, "203.0.113.9", at(0)).is_ok());
        assert!(throttle.take(Limit::Note, "203.0.113.9", at(0)).is_err(), "what is written about them has a bound");
        // Those that are whole again make room by themselves.
        assert!(throttle.take(Limit::LogIn, "203.0.113.9", at(30)).is_ok());
        assert_eq!(throttle.lock().networks.len(), 2);
        throttle.sweep(at(3600));
        assert_eq!(throttle.lock().networks.len(), 0);
    }

    #[test]
    fn a_large_network_is_no_newcomer_sooner_than_one_client() {
        let throttle = Throttle::new(true);
        let sign_up = |ip: &str, seconds| throttle.take(Limit::SignUp, ip, at(seconds));
        let newcomers = |first: u32, count: u32, seconds| {
            for n in first..first + count {
                assert!(sign_up(&format!("198.18.{}.{}", n / 250, n % 250), seconds).is_ok());
            }
        };
        newcomers(0, 1000, 0); // half of the site's room
        assert!(sign_up("2001:db8:1::1", 0).is_ok(), "a newcomer");
        newcomers(1000, 20, 4); // what was refilled meanwhile
        assert!(matches!(sign_up("2001:db8:1:2::1", 4), Err(Full::Site(_))), "its /48 has asked before");
        assert!(sign_up("2001:db8:2::1", 4).is_ok());
        newcomers(1020, 580, 120);
        assert!(sign_up("2001:db8:1:3::1", 120).is_ok(), "a newcomer again");
    }
}
