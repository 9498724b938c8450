//! The one place where passwords are hashed, which takes 10 to 20 ms and 19 MiB.
//!
//! There is one thread per core, at a lower priority than the server's threads, each with memory of its own that is
//! allocated once and wiped after each hash. Bounded queues stand in front. However many users log in at once, hashing costs
//! cores × 19 MiB, pages are served meanwhile, and no hash is made for a client that has gone away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::Instant;
use std::{fmt, thread};

use argon2::Params;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::{debug, debug_span};
use zeroize::Zeroizing;

use crate::accounts::password::argon::{self, Verdict};
use crate::accounts::password::engine::{self, Engine, Fast};
use crate::accounts::password::{HashedPassword, NewPassword, Password, PasswordError, PasswordPolicy};
use crate::accounts::{Fault, Result};
use crate::config::HashEngine;
use crate::metrics::Hashing;

/// How much of a name a new password is compared with, in characters: all of the longest address (RFC 5321, 4.5.3.1.3).
const ABOUT_MAX: usize = 254;

type Job = Box<dyn FnOnce(&mut dyn Engine) + Send>;

/// Hashes and verifies passwords; cheap to clone.
#[derive(Clone)]
pub struct Hasher {
    params: Params,
    decoy: HashedPassword,
    line: Line,
    known: Line,
    threads: usize,
    jobs: mpsc::Sender<Job>,
    counts: Hashing,
}

/// Requests that wait together. The threads serve two lines in turns. In a single line, a crowd that guesses would keep
/// every user waiting, or out.
#[derive(Clone)]
struct Line {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    held: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
    at_once: usize,
}

impl Line {
    /// How many requests may wait for each core, 3 to 6 s of work. More are refused with [`Fault::Busy`].
    const PLACES_PER_CORE: usize = 256;

    /// Returns a line in which `at_once` passwords with one key are hashed at a time.
    fn new(cores: usize, at_once: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(cores * Self::PLACES_PER_CORE)),
            // Two per core: one that runs, and one that starts at the moment when the first is done.
            turns: Arc::new(Semaphore::new(cores * 2)),
            held: Arc::default(),
            at_once,
        }
    }

    /// Returns the semaphore of a key, which lives as long as a request holds it or waits for it.
    fn of(&self, key: &str) -> Arc<Semaphore> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = held.get(key).and_then(Weak::upgrade) {
            return found;
        }
        held.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(self.at_once));
        held.insert(key.to_owned(), Arc::downgrade(&semaphore));
        semaphore
    }
}

impl Hasher {
    /// Starts one thread per core. They hash with argon2id, `memory` KiB, `passes` passes and one lane. The fast engine is
    /// compared with the reference engine first.
    ///
    /// # Errors
    /// When argon2 refuses the parameters, or a thread cannot be started.
    pub fn start(engine: HashEngine, memory: u32, passes: u32, counts: Hashing) -> anyhow::Result<Self> {
        let params = Params::new(memory, passes, 1, Some(32))?;
        let engine = engine::checked(engine, &mut Fast::new(0));
        let cores = thread::available_parallelism()?.get();
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for core in 0..cores {
            let (queue, params) = (queue.clone(), params.clone());
            thread::Builder::new().name(format!("hasher-{core}")).spawn(move || work(&queue, engine, &params))?;
        }
        // One at a time of each name for strangers, two of each account for known browsers: an account has two names.
        let (line, known) = (Line::new(cores, 1), Line::new(cores, 2));
        Ok(Self { decoy: argon::decoy(&params)?, params, line, known, threads: cores, jobs, counts })
    }

    /// Returns the same threads, with the line of browsers that the account knows.
    pub fn for_the_known(&self) -> Self {
        Self { line: self.known.clone(), ..self.clone() }
    }

    /// Waits for a place among the passwords with this key. Attempts at one account must not delay all others. The place is
    /// free again when the permit is dropped.
    ///
    /// The key is the name that was typed in the line of strangers, and the account's id in the line of the known. If the
    /// two names of an account shared places, an attacker could measure which address belongs to a username.
    ///
    /// # Errors
    /// None that can happen: the semaphore is never closed.
    pub async fn hold(&self, key: &str) -> Result<OwnedSemaphorePermit> {
        self.line.of(key).acquire_owned().await.map_err(|_| Fault::Busy)
    }

    /// Judges a new password, given what an attacker would know `about` the user.
    pub async fn judge(
        &self,
        typed: &str,
        policy: &PasswordPolicy,
        about: &[&str],
    ) -> Result<Result<NewPassword, PasswordError>> {
        // A text that is longer than every name is no name, and only costs time.
        let about = about.iter().map(|text| text.chars().take(ABOUT_MAX).collect::<String>());
        let (about, policy): (Vec<String>, _) = (about.collect(), policy.clone());
        let typed = Zeroizing::new(typed.to_owned());
        self.run("judge", move |_| {
            let about: Vec<&str> = about.iter().map(String::as_str).collect();
            NewPassword::parse(&typed, &policy, &about)
        })
        .await
    }

    /// Hashes a password under a fresh salt.
    pub async fn hash(&self, password: Password) -> Result<HashedPassword> {
        let params = self.params.clone();
        self.run("hash", move |engine| argon::hash(&params, &password, engine)).await?
    }

    /// Compares a password with a stored hash. Without one (the user is unknown, or has no password) the work is the
    /// same, so that its time does not tell who has an account.
    pub async fn verify(&self, password: Password, stored: Option<HashedPassword>) -> Result<Verdict> {
        let stored = stored.filter(|stored| !stored.is_none()).unwrap_or_else(|| self.decoy.clone());
        let params = self.params.clone();
        self.run("verify", move |engine| argon::verify(&params, &password, &stored, engine)).await?
    }

    /// Returns how many requests wait for a thread.
    pub fn waiting(&self) -> usize {
        let within = |line: &Line| self.threads * Line::PLACES_PER_CORE - line.places.available_permits();
        (within(&self.line) + within(&self.known)).saturating_sub(self.threads)
    }

    /// Runs `work` on one of the threads. A caller that is dropped while it waits leaves the queue.
    async fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce(&mut dyn Engine) -> T + Send + 'static,
    ) -> Result<T> {
        let span = debug_span!("hash", work = name);
        let (asked, wait) = (Instant::now(), self.counts.wait.clone());
        let _place = self.line.places.try_acquire().map_err(|_| {
            self.counts.busy.inc();
            Fault::Busy
        })?;
        let turn: OwnedSemaphorePermit = self.line.turns.clone().acquire_owned().await.map_err(|_| Fault::Busy)?;
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |engine| {
            if !reply.is_closed() {
                let waited = asked.elapsed();
                wait.observe(waited.as_secs_f64());
                let done = work(engine);
                let took = asked.elapsed() - waited;
                span.in_scope(|| debug!(waited = waited.as_secs_f64(), took = took.as_secs_f64(), "done"));
                let _ = reply.send(done); // the caller may have gone away
            }
            drop(turn);
        });
        self.jobs.send(job).map_err(|_| Fault::Busy)?;
        answer.await.map_err(|_| Fault::Internal("a hashing thread died".into()))
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Job>>, engine: HashEngine, params: &Params) {
    // For this thread alone: Linux has a nice value per thread. Where it is refused, pages are a little slower.
    let _ = rustix::process::setpriority_process(None, 5);
    let mut engine = engine::start(engine, params);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(&mut *engine),
            Err(mpsc::RecvError) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    const OTTER: &str = "velvet otter bakes rye";

    fn hasher() -> Hasher {
        Hasher::start(HashEngine::Fast, 19_456, 2, Metrics::default().hashing).expect("threads")
    }

    #[tokio::test]
    async fn a_hash_matches_its_password_and_no_other() {
        let hasher = hasher();
        let stored = hasher.hash(Password::new(OTTER)).await.expect("hashed");
        assert!(stored.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", stored.0);
        let verdict = |text| hasher.verify(Password::new(text), Some(stored.clone()));
        assert_eq!(verdict(OTTER).await.expect("verified"), Verdict { matches: true, outdated: false });
        assert!(!verdict("velvet otter bakes rye ").await.expect("verified").matches);
        assert!(!hasher.verify(Password::new(OTTER), None).await.expect("decoy").matches);
    }

    /// Compares with known answers from the reference implementation's own test file (argon2's `test.c`), so that what we
    /// store can be read by others and what others stored by us.
    #[tokio::test]
    async fn hashes_of_other_kinds_are_verified_and_called_outdated() {
        let old = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let old_i = "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8";
        for stored in [old, old_i] {
            let verdict = hasher().verify(Password::new("password"), Some(HashedPassword(stored.into()))).await;
            assert_eq!(verdict.expect("verified"), Verdict { matches: true, outdated: true }, "{stored}");
        }
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_clients_that_go_away_leave_it() {
        let hasher = hasher();
        let cores = thread::available_parallelism().expect("cores").get();
        let all = cores * Line::PLACES_PER_CORE;
        let mut waiting: Vec<_> = (0..all).map(|_| Box::pin(hasher.verify(Password::new(OTTER), None))).collect();
        for one in &mut waiting {
            assert!(futures_util::poll!(one.as_mut()).is_pending());
        }
        assert!(matches!(hasher.hash(Password::new(OTTER)).await, Err(Fault::Busy)));
        assert!(hasher.for_the_known().hash(Password::new(OTTER)).await.is_ok(), "another line");
        drop(waiting);
        assert!(hasher.hash(Password::new(OTTER)).await.is_ok(), "the places are free again");
    }
}
