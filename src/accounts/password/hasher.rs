//! The one place where passwords are hashed, which takes 10 to 20 ms and 19 MiB.
//!
//! There is one thread per core, at a lower priority than the server's threads, each with memory of its own that is
//! allocated once, and overwritten when no hash follows. Bounded queues stand in front. However many users log in at once,
//! hashing costs cores × 19 MiB, pages are served meanwhile, and no hash is made for a client that has gone away.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{fmt, hint, panic, thread};

use argon2::Params;
use flume::RecvTimeoutError;
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
    jobs: flume::Sender<Job>,
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
        let (jobs, queue) = flume::unbounded();
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
        answer.await.map_err(|_| Fault::Internal("a job of a hashing thread panicked".into()))
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

/// How long what a hash has left may stay in memory, if no other hash overwrites it.
const REST_AFTER: Duration = Duration::from_millis(100);

fn work(queue: &flume::Receiver<Job>, engine: HashEngine, params: &Params) {
    // For this thread alone: Linux has a nice value per thread. Where it is refused, pages are a little slower.
    let _ = rustix::process::setpriority_process(None, 5);
    let mut engine = engine::start(engine, params);
    loop {
        let rest_at = engine.left_at().map(|left_at| left_at + REST_AFTER);
        if rest_at.is_some_and(|rest_at| rest_at <= Instant::now()) {
            engine.rest();
            continue;
        }
        let next = rest_at.map_or_else(|| queue.recv().map_err(Into::into), |rest_at| queue.recv_deadline(rest_at));
        match next {
            Ok(job) => {
                // The caller hears of a panic, and the thread goes on.
                let _ = panic::catch_unwind(AssertUnwindSafe(|| job(&mut *engine)));
                clear_stack();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Overwrites what a job has left on the stack below its caller. The seed of a hash is there (RFC 9106, 3.2, H0): one BLAKE2b of
/// the password, its salt and the parameters, with which an attacker who reads the process's memory could check guesses without
/// the cost of argon2. 64 KiB are several times what a hash needs.
#[inline(never)]
fn clear_stack() {
    hint::black_box([0_u8; 64 * 1024].as_mut_slice());
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;

    use argon2::password_hash::phc::PasswordHash;
    use argon2::{Algorithm, Argon2, Block, Version};
    use blake2::{Blake2b512, Digest};

    use super::*;
    use crate::chance;
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

    #[tokio::test]
    async fn a_job_that_panics_takes_no_thread_with_it() {
        let hasher = hasher();
        for _ in 0..=thread::available_parallelism().expect("cores").get() {
            let panicked: Result<()> = hasher.run("panic", |_| panic!("a test of panics")).await;
            assert!(matches!(panicked, Err(Fault::Internal(_))));
        }
        assert!(hasher.hash(Password::new(OTTER)).await.is_ok());
    }

    /// What would let an attacker check guesses without the cost of argon2. It is masked, so that it is not found where the test
    /// itself has it.
    #[derive(PartialEq)]
    struct Trace([u8; 16]);

    const MASK: u8 = 0x5a;

    impl Trace {
        fn of(bytes: &[u8]) -> Self {
            Self(std::array::from_fn(|n| bytes[n] ^ MASK))
        }

        /// Returns whether it is in the memory of this process that is neither a file's nor `copy`, to which it is copied piece by
        /// piece. A copy of each call would be found by the next one.
        fn is_in_memory(&self, copy: &mut [u8]) -> bool {
            let maps = fs::read_to_string("/proc/self/maps").expect("maps");
            let memory = File::open("/proc/self/mem").expect("memory");
            let range = |line: &str| {
                let (range, rest) = line.split_once(' ')?;
                let (from, to) = range.split_once('-')?;
                let is_ours = rest.starts_with("rw-p") && !rest.contains(" /");
                is_ours.then(|| [from, to].map(|address| u64::from_str_radix(address, 16).expect("an address")))
            };
            let here = copy.as_ptr() as u64..copy.as_ptr() as u64 + copy.len() as u64;
            for [from, to] in maps.lines().filter_map(range) {
                // The pieces overlap, so that nothing is cut in two.
                for at in (from..to).step_by(copy.len() - self.0.len()) {
                    let Ok(read) = memory.read_at(copy, at) else { break }; // unmapped meanwhile
                    let found = memchr::memchr_iter(self.0[0] ^ MASK, &copy[..read]).any(|n| {
                        let bytes = copy[n..read].get(..self.0.len());
                        bytes.is_some_and(|bytes| Self::of(bytes) == *self) && !here.contains(&(at + n as u64))
                    });
                    if found {
                        return true;
                    }
                }
            }
            false
        }
    }

    /// Returns what argon2 makes of this password on the way to this hash: the input of BLAKE2b, in which the password stands before
    /// the salt, what comes of it, and a block of the memory.
    #[inline(never)]
    fn traces(password: &[u8], stored: &HashedPassword) -> [Trace; 3] {
        let salt = PasswordHash::new(&stored.0).expect("a hash").salt.expect("a salt");
        let params = Params::new(19_456, 2, 1, Some(32)).expect("fine");
        let mut input = [0; 16];
        input[..4].copy_from_slice(&16_u32.to_le_bytes());
        input[4..].copy_from_slice(&salt[..12]);
        let mut seed = Blake2b512::new();
        for number in [1, 32, params.m_cost(), params.t_cost(), 0x13, 2] {
            seed.update(number.to_le_bytes());
        }
        for text in [password, &salt[..], &[], &[]] {
            seed.update(u32::try_from(text.len()).expect("short").to_le_bytes());
            seed.update(text);
        }
        let seed = Trace::of(&seed.finalize());
        let mut blocks = vec![Block::new(); params.block_count()];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into_with_memory(password, &salt, &mut [0; 32], &mut blocks).expect("computed");
        let words = blocks[9_000].as_ref();
        let block = Trace::of([words[0].to_le_bytes(), words[1].to_le_bytes()].as_flattened());
        hint::black_box(&mut blocks).fill(Block::new());
        [Trace::of(&input), seed, block]
    }

    #[inline(never)]
    fn leave_on_the_stack(masked: &[u8; 16]) {
        hint::black_box([masked.map(|byte| byte ^ MASK); 1024]);
    }

    #[tokio::test]
    async fn a_hash_leaves_nothing_in_memory() {
        let mut copy = vec![0; 1 << 20];
        for engine in [HashEngine::Fast, HashEngine::Reference] {
            let hasher = Hasher::start(engine, 19_456, 2, Metrics::default().hashing).expect("threads");
            let password = format!("{}", uuid::Uuid::from_bytes(chance::bytes()));
            let stored = hasher.hash(Password::new(&password)).await.expect("hashed");
            let [input, seed, block] = traces(password.as_bytes(), &stored);
            clear_stack();
            assert!(Trace::of(&stored.0.as_bytes()[30..]).is_in_memory(&mut copy), "what is there is found");
            let job = Trace(chance::bytes());
            let masked = job.0;
            hasher.run("leave", move |_| leave_on_the_stack(&masked)).await.expect("done");
            let traces =
                [("what a job had on its stack", job), ("the input", input), ("the seed", seed), ("a block", block)];
            let began = Instant::now();
            for (what, trace) in traces {
                while trace.is_in_memory(&mut copy) {
                    assert!(began.elapsed() < Duration::from_secs(10), "{engine:?}: {what}");
                }
            }
        }
    }
}
