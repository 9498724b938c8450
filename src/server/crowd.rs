//! Who is connected: a bound on all of them, and on those of one client.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::connection::Activity;
use super::listener::Limits;
use crate::config::Config;
use crate::throttle;

/// How soon to look again for somebody to send away, when all are busy.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How often the log says that the house is full.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// All connections there are.
pub struct Crowd {
    limits: Limits,
    trusted_proxies: Vec<IpNet>,
    places: Arc<Semaphore>,
    guests: Mutex<Guests>,
}

#[derive(Default)]
struct Guests {
    last_id: u64,
    all: HashMap<u64, Arc<Activity>>,
    of_client: HashMap<IpAddr, usize>,
    said_full: Option<Instant>,
}

impl Crowd {
    /// Nobody yet.
    pub fn new(limits: Limits, config: &Config) -> Arc<Self> {
        Arc::new(Self {
            limits: Limits { per_client: if config.has_limits() { limits.per_client } else { usize::MAX }, ..limits },
            trusted_proxies: config.trusted_proxies.clone(),
            places: Arc::new(Semaphore::new(limits.connections)),
            guests: Mutex::default(),
        })
    }

    /// Lets a connection in, once there is a place, unless its client has as many as one may have.
    pub async fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Guest> {
        let of_client = self.count(peer.to_canonical())?;
        let place = self.place().await;
        let mut guests = self.guests();
        guests.last_id += 1;
        let (id, activity) = (guests.last_id, Activity::new(self.limits));
        guests.all.insert(id, activity.clone());
        Some(Guest { crowd: self.clone(), id, activity, _of_client: of_client, _place: place })
    }

    fn count(self: &Arc<Self>, peer: IpAddr) -> Option<OfClient> {
        let is_proxy = self.trusted_proxies.iter().any(|net| net.contains(&peer));
        let client = (!is_proxy).then(|| throttle::network(peer));
        if let Some(client) = client {
            let mut guests = self.guests();
            let count = guests.of_client.entry(client).or_default();
            if *count >= self.limits.per_client {
                debug!(%client, "too many connections of one client");
                return None;
            }
            *count += 1;
        }
        Some(OfClient { crowd: self.clone(), client })
    }

    /// A place for one more. In a full house those go who have waited longest for something to ask: an honest
    /// newcomer asks at once and is answered, and a browser whose idle connection goes opens another unseen.
    async fn place(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(place) = self.places.clone().try_acquire_owned() {
                return place;
            }
            self.send_away_the_idlest();
            // The rest wait outside, in the kernel's queue.
            if let Ok(Ok(place)) = timeout(LOOK_AGAIN, self.places.clone().acquire_owned()).await {
                return place;
            }
        }
    }

    /// Sends away a hundredth at a time, so that looking through all of them is rare.
    fn send_away_the_idlest(&self) {
        let mut guests = self.guests();
        if guests.said_full.is_none_or(|at| at.elapsed() > SAY_AGAIN) {
            guests.said_full = Some(Instant::now());
            warn!(connections = self.limits.connections, "as many connections as there may be: the idlest go");
        }
        let idle = guests.all.values().filter_map(|activity| Some((activity.idle_since()?, activity)));
        let mut idle: Vec<_> = idle.collect();
        idle.sort_unstable_by_key(|(since, _)| *since);
        for (_, activity) in idle.iter().take(self.limits.connections.div_ceil(100)) {
            activity.task.get().inspect(|task| task.abort());
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

impl Drop for OfClient {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        if let Entry::Occupied(mut count) = self.crowd.guests().of_client.entry(client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
