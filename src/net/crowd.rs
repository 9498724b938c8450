//! All connections: how many there may be, how many one client may have, and who is ended when they are too many or hold
//! too much memory.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::activity::Activity;
use super::limits::ConnectionLimits;
use super::memory::Memory;
use crate::networks::networks;
use crate::notice::Notice;

/// How soon to look again for a connection to end, when the server works for all of them.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// All connections of a listener, or of several.
pub struct Crowd {
    limits: ConnectionLimits,
    trusted_proxies: Vec<IpNet>,
    permits: Arc<Semaphore>,
    memory: Arc<Memory>,
    members: Mutex<Members>,
    full: Notice,
    too_much: Notice,
}

#[derive(Default)]
struct Members {
    last_id: u64,
    all: HashMap<u64, Arc<Activity>>,
    /// How many connections each network has. A client counts in each of its networks, see [`networks`].
    of_network: HashMap<IpNet, usize>,
}

impl Crowd {
    /// Returns a crowd without connections. A proxy in `trusted_proxies` may have any number of them.
    pub fn new(limits: ConnectionLimits, trusted_proxies: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            trusted_proxies,
            permits: Arc::new(Semaphore::new(limits.connections)),
            memory: Memory::new(limits.memory),
            members: Mutex::default(),
            full: Notice::new(),
            too_much: Notice::new(),
        })
    }

    /// Lets a connection in as soon as there is a place. Returns `None` if its client has as many as one may have.
    pub async fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let counted = self.count(peer.to_canonical())?;
        let permit = self.permit().await;
        let mut members = self.members();
        members.last_id += 1;
        let activity = Activity::new(self.limits, self.memory.clone(), counted.network());
        let id = members.last_id;
        members.all.insert(id, activity.clone());
        Some(Place { crowd: self.clone(), id, activity, _counted: counted, _permit: permit })
    }

    fn count(self: &Arc<Self>, peer: IpAddr) -> Option<Counted> {
        if self.trusted_proxies.iter().any(|net| net.contains(&peer)) {
            return Some(Counted { crowd: self.clone(), client: None });
        }
        let mut members = self.members();
        let is_full = |(network, clients): &(IpNet, u32)| {
            members.of_network.get(network).is_some_and(|count| *count >= self.most_of(*clients))
        };
        if let Some((network, _)) = networks(peer).find(is_full) {
            debug!(%network, "too many connections of one client");
            return None;
        }
        for (network, _) in networks(peer) {
            *members.of_network.entry(network).or_default() += 1;
        }
        Some(Counted { crowd: self.clone(), client: Some(peer) })
    }

    /// Returns how many connections a network may have that has room for so many clients. It is never more than an eighth
    /// of all. An attacker can buy many IPv6 /48 networks, and a few of them would fill the server otherwise.
    fn most_of(&self, clients: u32) -> usize {
        let of_all = self.limits.per_client.saturating_mul(clients as usize);
        of_all.min(self.limits.per_client.max(self.limits.connections / 8))
    }

    /// Returns a permit for one more connection. When there is none left, connections are ended that wait for their
    /// client. An honest newcomer asks at once and is answered. A browser whose idle connection ends opens another one,
    /// and its user sees nothing of it.
    async fn permit(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(permit) = self.permits.clone().try_acquire_owned() {
                return permit;
            }
            self.make_room();
            // Newer connections wait in the kernel's queue.
            if let Ok(Ok(permit)) = timeout(LOOK_AGAIN, self.permits.clone().acquire_owned()).await {
                return permit;
            }
        }
    }

    /// Ends a hundredth of the connections, so that looking through all of them is rare. Only those that wait for their
    /// client are ended: first those of the client that has most connections, then those that have waited longest.
    ///
    /// Forty addresses with all the connections that one client may have fill the server. If only the time counted, an
    /// attacker could open its connections again and again, and those of honest visitors would have waited longest.
    fn make_room(&self) {
        if self.full.count(Instant::now()).is_some() {
            warn!(
                connections = self.limits.connections,
                "as many connections as there may be: some that wait are ended"
            );
        }
        let members = self.members();
        let count = |activity: &Activity| activity.network.map_or(1, |network| members.of_network[&network]);
        let waiting = members.all.values().filter_map(|one| Some(((Reverse(count(one)), one.waits_since()?), one)));
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable_by_key(|(order, _)| *order);
        for (_, activity) in waiting.iter().take(self.limits.connections.div_ceil(100)) {
            activity.cut();
        }
    }

    /// Ends connections until a quarter of the memory is free again: first those of the client whose connections hold
    /// most, and of these first the ones that hold most.
    ///
    /// HTTP/2 lets a client ask on many streams and take no response (window 0), or send many heads without their bodies.
    /// A few hundred connections that did so held gigabytes.
    pub fn cut_the_biggest(&self) {
        let members = self.members();
        if !self.memory.is_over() {
            return; // another thread has done it
        }
        if self.too_much.count(Instant::now()).is_some() {
            warn!(bytes = self.limits.memory, "requests and responses hold too much memory: the biggest are ended");
        }
        let all: Vec<_> = members.all.values().map(|activity| (activity, activity.held())).collect();
        let mut of_network = HashMap::<_, usize>::new();
        for (activity, held) in &all {
            *of_network.entry(activity.network).or_default() += held;
        }
        let size = |activity: &Activity, held| (activity.network.map_or(held, |_| of_network[&activity.network]), held);
        let mut all: Vec<_> = all.into_iter().map(|(one, held)| (size(one, held), one)).collect();
        all.sort_unstable_by_key(|(size, _)| Reverse(*size));
        for (_, activity) in all {
            if self.memory.has_room() {
                break;
            }
            activity.cut();
        }
    }

    /// Returns how many connections there are.
    pub fn connections(&self) -> usize {
        self.members().all.len()
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection. It is free again when this is dropped.
pub struct Place {
    /// Whose place it is.
    pub crowd: Arc<Crowd>,
    id: u64,
    /// What the connection does.
    pub activity: Arc<Activity>,
    _counted: Counted,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.members().all.remove(&self.id);
    }
}

/// One connection in the count of its client. A trusted proxy has no client, and is not counted.
struct Counted {
    crowd: Arc<Crowd>,
    client: Option<IpAddr>,
}

impl Counted {
    /// Returns the largest network that the connection counts in.
    fn network(&self) -> Option<IpNet> {
        networks(self.client?).last().map(|(network, _)| network)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut members = self.crowd.members();
        for (network, _) in networks(client) {
            if let Entry::Occupied(mut count) = members.of_network.entry(network) {
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
    use super::*;

    /// The loopback has no IPv6 networks to connect from, so the peers are invented here.
    #[tokio::test]
    async fn an_ipv6_network_gets_no_more_than_an_eighth_of_all_connections_however_many_subnets_it_has() {
        let limits = ConnectionLimits { connections: 800, per_client: 20, ..ConnectionLimits::default() };
        let crowd = Crowd::new(limits, vec![]);
        let mut places = vec![];
        for n in 0..200 {
            let peer = format!("2001:db8:1:{n:x}00::1").parse().expect("an address");
            places.extend(crowd.admit(peer).await);
        }
        assert_eq!(places.len(), 100, "a /48");
        for n in 0..200 {
            let peer = format!("2001:db8:2:{n:x}::1").parse().expect("an address");
            places.extend(crowd.admit(peer).await);
        }
        assert_eq!(places.len(), 180, "and a /56: four clients");
        assert!(crowd.admit("2001:db8:3::1".parse().expect("an address")).await.is_some());
        drop(places);
        assert!(crowd.members().of_network.is_empty());
        assert!(crowd.admit("2001:db8:1::1".parse().expect("an address")).await.is_some());
    }
}
