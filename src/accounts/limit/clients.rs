//! What clients attempt. Counted in memory, so that a flood is refused before it costs a statement.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::rate::Rate;
use super::{Admission, TooMany};
use crate::accounts::Client;
use crate::networks::networks;

/// What a client does that is limited, whatever account it is about. The rates are generous, because an office or a whole
/// provider may share one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A password that is not right. The attempt of a right one is given back.
    LogIn,
    /// A password in a browser that the account knows, also a right one. Otherwise an attacker with many accounts of their
    /// own in one browser could keep the hashing threads busy.
    KnownLogIn,
    /// What a client shows as an app and is not right: a secret, or a code of an app without one. What is right is not counted: one
    /// server asks for thousands of users. It is no [`Action::LogIn`]: wrong passwords that come from the address of a server must
    /// not shut out the people for whom it speaks.
    Secret,
    /// A request that an app sends ahead of its user. It is counted by the app. A visitor who has not logged in makes the app
    /// send one.
    Push,
    /// A form that asks for an account, or for its email once more.
    SignUp,
    /// A form that asks for an email.
    Letter,
    /// A form that asks for an email, from a browser that the account of the address knows.
    OwnLetter,
    /// A form behind a link in an email, the logging out of a device, and taking an app's access away.
    Link,
    /// A form whose session has ended, which is kept until the next log-in.
    Draft,
    /// A form that the nodes of one database answer once. Its row is short-lived, and beyond this number each node remembers
    /// its own forms only.
    Replay,
    /// An event about a client: its attempts are used up, or its form came from another site.
    Note,
}

impl Action {
    /// Returns how often one client may do it: one IPv4 address, or one IPv6 /64.
    fn rate(self) -> Rate {
        match self {
            Self::LogIn | Self::Link | Self::Draft => Rate { burst: 30, every: Duration::seconds(20) },
            Self::KnownLogIn | Self::Secret => Rate { burst: 300, every: Duration::seconds(1) },
            Self::Replay => Rate { burst: 60, every: Duration::seconds(1) },
            // A row lives for ten minutes, is deleted a quarter of an hour later at the latest, and has 4 KB at most: 31 000 rows at most
            // for each app.
            Self::Push => Rate { burst: 1000, every: Duration::milliseconds(50) },
            Self::Note => Rate { burst: 5, every: Duration::seconds(60) },
            Self::SignUp | Self::Letter | Self::OwnLetter => Rate { burst: 30, every: Duration::seconds(120) },
        }
    }

    /// Returns how often all clients together may do it, where each time leaves rows in the database. With the caps of
    /// the sweeps these rates bound what strangers can write in a day and what the tables hold (ARCHITECTURE.md,
    /// “Floods”). They are far above what a site needs. Otherwise a small botnet could use them up, and no new user could
    /// sign up. A botnet that asks for emails needs 6000 addresses for that, because each address may ask once in two
    /// minutes.
    ///
    /// Log-ins have none, because the queue for the hash bounds them. Links have none, because they leave no row. A
    /// browser that the account knows has none, because a flood of strangers must not keep the owner from a reset.
    fn rate_of_the_site(self) -> Option<Rate> {
        match self {
            Self::SignUp => Some(Rate { burst: 2000, every: Duration::milliseconds(200) }),
            Self::Letter | Self::Draft => Some(Rate { burst: 10_000, every: Duration::milliseconds(20) }),
            // A row lives for 15 seconds at most, so there are 7000 of them at most, of 2 KB.
            Self::Replay => Some(Rate { burst: 4000, every: Duration::milliseconds(5) }),
            Self::LogIn | Self::KnownLogIn | Self::Secret | Self::Push | Self::Link | Self::OwnLetter | Self::Note => {
                None
            }
        }
    }
}

/// How many clients an app is that speaks for people. It has as many attempts as a /48, which every attacker can get
/// ([`crate::networks`]). So a thief of its secret, who makes up an address for each guess, gains little by it.
const CLIENTS_OF_AN_APP: u32 = 32;

/// Where an attempt comes from.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The client's address. Clients without one count as one client.
    pub ip: Option<IpAddr>,
    /// The app that has named the address. The address is counted for this app only. Otherwise an evil app could shut any
    /// address out of the site.
    pub via: Option<Uuid>,
}

impl From<Option<IpAddr>> for Source {
    fn from(ip: Option<IpAddr>) -> Self {
        Self { ip, via: None }
    }
}

impl From<&Client> for Source {
    fn from(client: &Client) -> Self {
        Self { ip: client.ip, via: client.via }
    }
}

/// Counts what clients attempt.
#[derive(Debug)]
pub struct ClientLimits {
    on: bool,
    buckets: Mutex<Buckets>,
}

/// When each bucket is refilled, in Unix milliseconds.
#[derive(Debug, Default)]
struct Buckets {
    networks: HashMap<(Action, Option<Uuid>, IpNet), Counter>,
    /// There are as many as registered apps at most.
    apps: HashMap<(Action, Uuid), i64>,
    site: HashMap<Action, i64>,
    swept_at: i64,
    /// How many nodes count, each by itself.
    nodes: u32,
}

/// What is stored of a network.
#[derive(Clone, Copy, Debug)]
struct Counter {
    /// When its bucket is refilled, in Unix milliseconds.
    refilled_at: i64,
    /// When the network counts as a newcomer again: as soon as one client would. The bucket of a /48 is refilled 32 times
    /// as fast as one client's. If that counted, 19 networks of this size would keep every newcomer out of the site.
    newcomer_at: i64,
}

impl ClientLimits {
    /// Counts nothing unless it is `on`.
    pub(super) fn new(on: bool) -> Self {
        Self { on, buckets: Mutex::default() }
    }

    /// Takes one attempt of the client, from all of its networks at once ([`crate::networks`]), and from the app that speaks
    /// for it.
    ///
    /// # Errors
    /// How long the client has to wait. Nothing is taken then.
    pub fn take(&self, action: Action, source: impl Into<Source>, now: OffsetDateTime) -> Result<Admission, TooMany> {
        if !self.on {
            return Ok(Admission { last: false });
        }
        self.lock().take(action, source.into(), in_ms(now))
    }

    /// Looks whether the client has an attempt left, and takes none.
    ///
    /// # Errors
    /// How long the client has to wait.
    pub(in crate::accounts) fn look(
        &self,
        action: Action,
        source: impl Into<Source>,
        now: OffsetDateTime,
    ) -> Result<(), TooMany> {
        if self.on { self.lock().look(action, source.into(), in_ms(now)) } else { Ok(()) }
    }

    /// Gives an attempt back.
    pub(in crate::accounts) fn give_back(&self, action: Action, source: impl Into<Source>) {
        self.lock().give_back(action, source.into());
    }

    /// Takes this node's share. A client whose requests go to all nodes has as many attempts as before.
    pub(super) fn divide_among(&self, nodes: u32) {
        self.lock().nodes = nodes;
    }

    /// Forgets the clients whose buckets are refilled.
    pub fn sweep(&self, now: OffsetDateTime) {
        self.lock().sweep(in_ms(now));
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buckets {
    /// The most counters that are stored, about 5 MB. Beyond that, new clients are not counted. If they were refused, a
    /// botnet of this size could lock out every other client. What uncounted clients can do is bounded by the site's own
    /// bucket and by the queue for the hash.
    const MOST: usize = 1 << 16;

    fn take(&mut self, action: Action, Source { ip, via }: Source, now: i64) -> Result<Admission, TooMany> {
        // Looks at all buckets once a second at most, or in a flood of new addresses each request would do it.
        if self.networks.len() >= Self::MOST && now - self.swept_at >= 1000 {
            self.sweep(now);
        }
        let (mut taken, mut last, mut newcomer) = (Vec::with_capacity(3), false, false);
        for (network, clients) in networks(address(ip)) {
            let (key, rate) = ((action, via, network), self.rate(action, clients));
            let known = self.networks.get(&key).copied();
            let before = known.map_or(0, |counter| counter.refilled_at);
            let refilled_at = rate.take_in_ms(0, before, now).map_err(TooMany::Client)?;
            last |= rate.take_in_ms(0, refilled_at, now).is_err();
            // The last one, which is the largest network, decides.
            newcomer = known.is_none_or(|counter| counter.newcomer_at <= now);
            taken.push((key, Counter { refilled_at, newcomer_at: now + self.rate(action, 1).every_ms() }));
        }
        let room = Self::MOST.saturating_sub(self.networks.len());
        let uncounted = taken.iter().filter(|(key, _)| !self.networks.contains_key(key)).count() > room;
        if uncounted && action == Action::Note {
            return Err(TooMany::Client(action.rate().every));
        }
        // One secret must not open a way to guess without end at all accounts, from an address that is made up for each
        // guess. Half of an app's attempts are kept for addresses that have asked for nothing lately, so that one person
        // cannot use them up for all others.
        let of_app = match via {
            Some(app) => {
                let rate = self.rate(action, CLIENTS_OF_AN_APP);
                let before = self.apps.get(&(action, app)).copied().unwrap_or(0);
                let left = if newcomer && !uncounted { 0 } else { rate.burst / 2 };
                let refilled_at = rate.take_in_ms(left, before, now).map_err(TooMany::Client)?;
                last |= rate.take_in_ms(0, refilled_at, now).is_err();
                Some(((action, app), refilled_at))
            }
            None => None,
        };
        if let Some(rate) = action.rate_of_the_site() {
            let rate = rate.divided_among(self.nodes);
            // Half of the site's attempts are kept for clients that have asked for nothing lately. So the clients of a
            // flood slow each other down, and not the user who forgot a password. An uncounted client is no newcomer.
            let left = if newcomer && !uncounted { 0 } else { rate.burst / 2 };
            let site = self.site.entry(action).or_default();
            *site = rate.take_in_ms(left, *site, now).map_err(TooMany::Site)?;
        }
        if !uncounted {
            self.networks.extend(taken);
        }
        self.apps.extend(of_app);
        Ok(Admission { last })
    }

    fn look(&self, action: Action, Source { ip, via }: Source, now: i64) -> Result<(), TooMany> {
        for (network, clients) in networks(address(ip)) {
            let before = self.networks.get(&(action, via, network)).map_or(0, |counter| counter.refilled_at);
            self.rate(action, clients).take_in_ms(0, before, now).map_err(TooMany::Client)?;
        }
        Ok(())
    }

    /// Returns what this node lets a network do that has room for so many clients.
    fn rate(&self, action: Action, clients: u32) -> Rate {
        action.rate().times(clients).divided_among(self.nodes)
    }

    fn give_back(&mut self, action: Action, Source { ip, via }: Source) {
        for (network, clients) in networks(address(ip)) {
            let every = self.rate(action, clients).every_ms();
            if let Some(counter) = self.networks.get_mut(&(action, via, network)) {
                counter.refilled_at -= every;
            }
        }
        let every = self.rate(action, CLIENTS_OF_AN_APP).every_ms();
        if let Some(refilled_at) = via.and_then(|app| self.apps.get_mut(&(action, app))) {
            *refilled_at -= every;
        }
        if let Some((refilled_at, rate)) = self.site.get_mut(&action).zip(action.rate_of_the_site()) {
            *refilled_at -= rate.divided_among(self.nodes).every_ms();
        }
    }

    fn sweep(&mut self, now: i64) {
        self.networks.retain(|_, counter| counter.refilled_at.max(counter.newcomer_at) > now);
        self.networks.shrink_to_fit();
        self.apps.retain(|_, refilled_at| *refilled_at > now);
        self.swept_at = now;
    }
}

fn in_ms(now: OffsetDateTime) -> i64 {
    i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// Returns the address that a client is counted by. Clients without an address share one.
fn address(ip: Option<IpAddr>) -> IpAddr {
    ip.unwrap_or(Ipv6Addr::UNSPECIFIED.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).expect("a time")
    }

    /// The limits under test, by addresses as text.
    struct Tested(ClientLimits);

    impl Tested {
        fn new() -> Self {
            Self(ClientLimits::new(true))
        }

        fn take(&self, action: Action, ip: &str, now: OffsetDateTime) -> Result<Admission, TooMany> {
            self.0.take(action, Some(ip.parse::<IpAddr>().expect("an address")), now)
        }

        fn give_back(&self, action: Action, ip: &str) {
            self.0.give_back(action, Some(ip.parse::<IpAddr>().expect("an address")));
        }

        fn counters(&self) -> usize {
            self.0.lock().networks.len()
        }
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
            let limits = Tested::new();
            while limits.take(Action::LogIn, a, at(0)).is_ok() {}
            assert_eq!(limits.take(Action::LogIn, b, at(0)).is_err(), same, "{a} {b}");
            assert!(limits.take(Action::SignUp, a, at(0)).is_ok(), "each action has counters of its own");
            limits.give_back(Action::LogIn, a);
            assert!(limits.take(Action::LogIn, a, at(0)).is_ok(), "what is given back can be taken");
        }
    }

    #[test]
    fn what_one_network_refuses_is_taken_from_none() {
        let limits = Tested::new();
        let ip = |n: usize| format!("2001:db8:1:{n:x}::1");
        // Four clients use the /56 up. The fifth is refused, and loses nothing by it.
        for n in 0..4 {
            while limits.take(Action::LogIn, &ip(n), at(0)).is_ok() {}
        }
        for _ in 0..100 {
            assert_eq!(limits.take(Action::LogIn, &ip(4), at(0)), Err(TooMany::Client(Duration::seconds(5))));
        }
        limits.give_back(Action::LogIn, &ip(0));
        assert_eq!(limits.take(Action::LogIn, &ip(4), at(0)), Ok(Admission { last: true }));
        // All that is left of its own, as soon as the /56 is refilled.
        let left = (0..100).filter(|_| limits.take(Action::LogIn, &ip(4), at(600)).is_ok()).count();
        assert_eq!(left, 30);
        assert!(limits.take(Action::LogIn, "2001:db8:1:100::1", at(600)).is_ok(), "another /56 in this /48");
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory_than_planned_and_keeps_no_client_out() {
        let limits = Tested::new();
        let ip = |n: usize| format!("{}.{}.{}.{}", n >> 24, n >> 16 & 0xff, n >> 8 & 0xff, n & 0xff);
        for n in 0..Buckets::MOST + 5000 {
            assert!(limits.take(Action::LogIn, &ip(n), at(0)).is_ok());
        }
        assert_eq!(limits.counters(), Buckets::MOST);
        while limits.take(Action::LogIn, &ip(0), at(0)).is_ok() {}
        assert!(limits.take(Action::LogIn, "203.0.113.9", at(0)).is_ok());
        assert!(limits.take(Action::Note, "203.0.113.9", at(0)).is_err(), "what is written about them has a bound");
        // Counters that are refilled make room by themselves.
        assert!(limits.take(Action::LogIn, "203.0.113.9", at(30)).is_ok());
        assert_eq!(limits.counters(), 2);
        limits.0.sweep(at(3600));
        assert_eq!(limits.counters(), 0);
    }

    #[test]
    fn an_app_has_as_many_attempts_as_a_large_network_and_one_person_half_of_them_at_most() {
        let limits = Tested::new();
        let app = Some(crate::chance::id());
        let take = |ip: String, seconds| {
            let source = Source { ip: Some(ip.parse().expect("an address")), via: app };
            limits.0.take(Action::LogIn, source, at(seconds)).map(|_| source)
        };
        // The /48 of one attacker has room for all attempts of the app.
        let admitted = (0..2000).filter(|n| take(format!("2001:db8:1:{n:x}::1"), 0).is_ok()).count();
        assert_eq!(admitted, 480);
        let admitted = (0..2000).filter(|n| take(format!("198.18.{}.{}", n / 250, n % 250), 0).is_ok()).count();
        assert_eq!(admitted, 480, "newcomers have the other half");
        assert_eq!(take("203.0.113.9".to_owned(), 0).err(), Some(TooMany::Client(Duration::seconds(1))));
        assert!(limits.take(Action::LogIn, "203.0.113.9", at(0)).is_ok(), "without the app");
        let source = take("203.0.113.9".to_owned(), 1).expect("one in 625 ms");
        assert!(take("203.0.113.10".to_owned(), 1).is_err());
        limits.0.give_back(Action::LogIn, source);
        assert!(take("203.0.113.10".to_owned(), 1).is_ok(), "what is given back can be taken");
        limits.0.sweep(at(3600));
        assert!(limits.0.lock().apps.is_empty());
    }

    #[test]
    fn several_nodes_let_in_as_much_as_one() {
        let nodes = [Tested::new(), Tested::new(), Tested::new()];
        for node in &nodes {
            node.0.divide_among(3);
        }
        let admitted = |ip: &str, seconds| {
            let of_node = |node: &Tested| (0..99).filter(|_| node.take(Action::LogIn, ip, at(seconds)).is_ok()).count();
            nodes.iter().map(of_node).sum::<usize>()
        };
        assert_eq!(admitted("203.0.113.9", 0), 30);
        assert_eq!(admitted("203.0.113.9", 59), 0);
        assert_eq!(admitted("203.0.113.9", 60), 3, "one in twenty seconds");
        nodes[0].give_back(Action::LogIn, "203.0.113.9");
        assert_eq!(admitted("203.0.113.9", 60), 1);
        // Two of them are gone. The bucket of the one that is left is refilled as before, and holds more.
        nodes[0].0.divide_among(1);
        let left = (0..99).filter(|_| nodes[0].take(Action::LogIn, "203.0.113.9", at(600)).is_ok()).count();
        assert_eq!(left, 27, "the rest of 30 after 540 seconds");
    }

    #[test]
    fn a_large_network_is_no_newcomer_sooner_than_one_client() {
        let limits = Tested::new();
        let sign_up = |ip: &str, seconds| limits.take(Action::SignUp, ip, at(seconds));
        let newcomers = |first: u32, count: u32, seconds| {
            for n in first..first + count {
                assert!(sign_up(&format!("198.18.{}.{}", n / 250, n % 250), seconds).is_ok());
            }
        };
        newcomers(0, 1000, 0); // half of the site's attempts
        assert!(sign_up("2001:db8:1::1", 0).is_ok(), "a newcomer");
        newcomers(1000, 20, 4); // what was refilled meanwhile
        assert!(matches!(sign_up("2001:db8:1:2::1", 4), Err(TooMany::Site(_))), "its /48 has asked before");
        assert!(sign_up("2001:db8:2::1", 4).is_ok());
        newcomers(1020, 580, 120);
        assert!(sign_up("2001:db8:1:3::1", 120).is_ok(), "a newcomer again");
    }
}
