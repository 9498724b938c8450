//! Who is connected: a bound on all of them, on those of one client, and on the memory that their requests and answers
//! hold.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::activity::Activity;
use super::listener::Limits;
use crate::config::Config;
use crate::notice::Notice;
use crate::throttle;

/// How soon to look again for somebody to send away, when all are busy.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// All connections there are.
pub struct Crowd {
    limits: Limits,
    trusted_proxies: Vec<IpNet>,
    places: Arc<Semaphore>,
    /// Bytes that requests and answers hold, of all connections.
    held: AtomicUsize,
    guests: Mutex<Guests>,
    full: Notice,
    too_much: Notice,
}

#[derive(Default)]
struct Guests {
    last_id: u64,
    all: HashMap<u64, Arc<Activity>>,
    /// How many connections each network has. A client counts in each of its networks, see [`throttle::networks`].
    of_network: HashMap<IpNet, usize>,
}

impl Crowd {
    /// Nobody yet.
    pub fn new(limits: Limits, config: &Config) -> Arc<Self> {
        Arc::new(Self {
            limits: Limits { per_client: if config.has_limits() { limits.per_client } else { usize::MAX }, ..limits },
            trusted_proxies: config.trusted_proxies.clone(),
            places: Arc::new(Semaphore::new(limits.connections)),
            held: AtomicUsize::new(0),
            guests: Mutex::default(),
            full: Notice::new(),
            too_much: Notice::new(),
        })
    }

    /// Lets a connection in, once there is a place, unless its client has as many as one may have.
    pub async fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Guest> {
        let of_client = self.count(peer.to_canonical())?;
        let place = self.place().await;
        let mut guests = self.guests();
        guests.last_id += 1;
        let (id, activity) = (guests.last_id, Activity::new(self.limits, self.clone(), of_client.network()));
        guests.all.insert(id, activity.clone());
        Some(Guest { crowd: self.clone(), id, activity, _of_client: of_client, _place: place })
    }

    fn count(self: &Arc<Self>, peer: IpAddr) -> Option<OfClient> {
        if self.trusted_proxies.iter().any(|net| net.contains(&peer)) {
            return Some(OfClient { crowd: self.clone(), client: None });
        }
        let mut guests = self.guests();
        let is_full = |(network, clients): &(IpNet, u32)| {
            guests.of_network.get(network).is_some_and(|count| *count >= self.most_of(*clients))
        };
        if let Some((network, _)) = throttle::networks(peer).find(is_full) {
            debug!(%network, "too many connections of one client");
            return None;
        }
        for (network, _) in throttle::networks(peer) {
            *guests.of_network.entry(network).or_default() += 1;
        }
        Some(OfClient { crowd: self.clone(), client: Some(peer) })
    }

    /// How many connections a network may have that has room for so many clients. Never more than an eighth of all, or a
    /// few IPv6 /48, of which an attacker can get as many as money buys, would fill the server.
    fn most_of(&self, clients: u32) -> usize {
        let of_all = self.limits.per_client.saturating_mul(clients as usize);
        of_all.min(self.limits.per_client.max(self.limits.connections / 8))
    }

    /// Returns a place for one more connection. When there is none left, connections are ended that wait for their
    /// client: an honest newcomer asks at once and is answered, and a browser opens another one unseen when its idle
    /// connection goes.
    async fn place(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(place) = self.places.clone().try_acquire_owned() {
                return place;
            }
            self.send_some_away();
            // The others wait outside, in the kernel's queue.
            if let Ok(Ok(place)) = timeout(LOOK_AGAIN, self.places.clone().acquire_owned()).await {
                return place;
            }
        }
    }

    /// Ends a hundredth of the connections, so that looking through all of them is rare: those that wait for their
    /// client, the connections of the client that has most of them first, then those that have waited longest.
    ///
    /// Forty addresses with all the connections that one client may have fill the server. If only the time counted, an
    /// attacker could open its connections anew, and honest visitors would be the ones that have waited longest.
    fn send_some_away(&self) {
        if self.full.count(std::time::Instant::now()).is_some() {
            warn!(
                connections = self.limits.connections,
                "as many connections as there may be: some that wait are ended"
            );
        }
        let guests = self.guests();
        let count = |activity: &Activity| activity.network.map_or(1, |network| guests.of_network[&network]);
        let waiting = guests.all.values().filter_map(|one| Some(((Reverse(count(one)), one.waits_since()?), one)));
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable_by_key(|(order, _)| *order);
        for (_, activity) in waiting.iter().take(self.limits.connections.div_ceil(100)) {
            activity.cut();
        }
    }

    /// Counts that so many bytes become so many. Returns whether more are held now than may be.
    pub fn hold(&self, before: usize, after: usize) -> bool {
        if after <= before {
            self.give_back(before - after);
            return false;
        }
        let more = after - before;
        self.held.fetch_add(more, Ordering::Relaxed) + more > self.limits.memory
    }

    /// Counts that so many bytes are no longer held.
    pub fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Ends connections until a quarter of the memory is free again: those of the client whose connections hold most
    /// first, and of them those that hold most.
    ///
    /// HTTP/2 lets a client ask on many streams and take no answer (window 0), or send many heads without their bodies.
    /// A few hundred connections that do so held gigabytes.
    pub fn cut_the_biggest(&self) {
        let guests = self.guests();
        let is_over = |most: usize| self.held.load(Ordering::Relaxed) > most;
        if !is_over(self.limits.memory) {
            return; // another thread has done it
        }
        if self.too_much.count(std::time::Instant::now()).is_some() {
            warn!(bytes = self.limits.memory, "requests and answers hold too much memory: the biggest are ended");
        }
        let all: Vec<_> = guests.all.values().map(|activity| (activity, activity.held())).collect();
        let mut of_network = HashMap::<_, usize>::new();
        for (activity, held) in &all {
            *of_network.entry(activity.network).or_default() += held;
        }
        let biggest =
            |activity: &Activity, held| (activity.network.map_or(held, |_| of_network[&activity.network]), held);
        let mut all: Vec<_> = all.into_iter().map(|(one, held)| (biggest(one, held), one)).collect();
        all.sort_unstable_by_key(|(size, _)| Reverse(*size));
        for (_, activity) in all {
            if !is_over(self.limits.memory / 4 * 3) {
                break;
            }
            activity.cut();
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.guests().all.len()
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place, until this goes away.
pub struct Guest {
    crowd: Arc<Crowd>,
    id: u64,
    /// What it is doing.
    pub activity: Arc<Activity>,
    _of_client: OfClient,
    _place: OwnedSemaphorePermit,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.crowd.guests().all.remove(&self.id);
    }
}

/// One of its client's connections, which are counted unless the client is a proxy.
struct OfClient {
    crowd: Arc<Crowd>,
    client: Option<IpAddr>,
}

impl OfClient {
    /// The largest network that the connection counts in.
    fn network(&self) -> Option<IpNet> {
        throttle::networks(self.client?).last().map(|(network, _)| network)
    }
}

impl Drop for OfClient {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut guests = self.crowd.guests();
        for (network, _) in throttle::networks(client) {
            if let Entry::Occupied(mut count) = guests.of_network.entry(network) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        config: Config,
    }

    /// A loopback has no IPv6 networks to come from, so the peers are made up here.
    #[tokio::test]
    async fn an_ipv6_network_gets_no_more_than_an_eighth_of_all_connections_however_many_subnets_it_has() {
        let config = Arguments::parse_from(["test"]).config;
        let crowd = Crowd::new(Limits { connections: 800, per_client: 20, ..Limits::default() }, &config);
        let mut guests = vec![];
        for n in 0..200 {
            let peer = format!("2001:db8:1:{n:x}00::1").parse().expect("an address");
            guests.extend(crowd.admit(peer).await);
        }
        assert_eq!(guests.len(), 100, "a /48");
        for n in 0..200 {
            let peer = format!("2001:db8:2:{n:x}::1").parse().expect("an address");
            guests.extend(crowd.admit(peer).await);
        }
        assert_eq!(guests.len(), 180, "and a /56: four clients");
        assert!(crowd.admit("2001:db8:3::1".parse().expect("an address")).await.is_some());
        drop(guests);
        assert!(crowd.guests().of_network.is_empty());
        assert!(crowd.admit("2001:db8:1::1".parse().expect("an address")).await.is_some());
    }
}
