//! The one place where passwords are hashed, and the only one that may take 20 ms and 19 MiB.
//!
//! A thread for each core, at a lower priority than the server's, each with memory blocks of its own made
//! once; bounded queues in front. However many people log in at once, hashing costs cores × 19 MiB, pages
//! are served meanwhile, and nobody who has gone away is waited for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::Instant;
use std::{fmt, thread};

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::{debug, debug_span, warn};
use zeroize::Zeroizing;

use crate::accounts::password::{HashedPassword, NewPassword, Password, PasswordError, PasswordPolicy};
use crate::accounts::{Fault, Result};
use crate::chance;
use crate::metrics::Hashing;

/// How much of a name is held against a new password, in characters: all of the longest address (RFC 5321, 4.5.3.1.3).
const ABOUT_MAX: usize = 254;

/// How many times our own memory or passes a stored hash may ask for. Without a limit, one that an attacker has planted
/// in the table, with m = 4 GiB, would end the process at the next log-in.
const DEAREST: u32 = 4;

type Job = Box<dyn FnOnce(&mut [Block]) + Send>;

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

/// Those who wait together. The threads serve two lines in turns, for in one a crowd that guesses would keep everybody
/// waiting, or out.
#[derive(Clone)]
struct Line {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    held: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
    at_once: usize,
}

impl Line {
    /// How many may wait for each core, about 6 s of work; more are turned away with [`Fault::Busy`].
    const PLACES_PER_CORE: usize = 256;

    /// A line in which `at_once` passwords with one key are hashed at a time.
    fn new(cores: usize, at_once: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(cores * Self::PLACES_PER_CORE)),
            // Two a core: one that runs, and one that starts the moment it is done.
            turns: Arc::new(Semaphore::new(cores * 2)),
            held: Arc::default(),
            at_once,
        }
    }

    /// The semaphore of a key, which lives as long as a request holds it or waits for it.
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

/// What came of comparing a password with a stored hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It is the password.
    pub matches: bool,
    /// The hash is of another kind or older parameters than new ones get.
    pub outdated: bool,
}

impl Hasher {
    /// Starts a thread a core, hashing with argon2id, `memory` KiB, `passes` passes and one lane.
    ///
    /// # Errors
    /// When argon2 refuses the parameters, or a thread cannot be started.
    pub fn start(memory: u32, passes: u32, counts: Hashing) -> anyhow::Result<Self> {
        let params = Params::new(memory, passes, 1, Some(32))?;
        let cores = thread::available_parallelism()?.get();
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for core in 0..cores {
            let (queue, blocks) = (queue.clone(), params.block_count());
            thread::Builder::new().name(format!("hasher-{core}")).spawn(move || work(&queue, blocks))?;
        }
        // One of each name for strangers, two of each account for the known: an account has two names.
        let (line, known) = (Line::new(cores, 1), Line::new(cores, 2));
        Ok(Self { decoy: decoy(&params)?, params, line, known, threads: cores, jobs, counts })
    }

    /// The same threads, by the line of browsers that the account knows.
    pub fn for_the_known(&self) -> Self {
        Self { line: self.known.clone(), ..self.clone() }
    }

    /// Waits for a place among the passwords with this key: attempts at one account must not be in the way of all others.
    /// The place is free again when the permit is dropped.
    ///
    /// The key is the name that was typed in the line of strangers, and the account's id in the line of the known. If the
    /// two names of an account shared places, an attacker could measure which address belongs to a username.
    ///
    /// # Errors
    /// None that can be met: the semaphore is never closed.
    pub async fn hold(&self, key: &str) -> Result<OwnedSemaphorePermit> {
        self.line.of(key).acquire_owned().await.map_err(|_| Fault::Busy)
    }

    /// Judges a new password, given what an attacker would know `about` the person.
    ///
    /// # Errors
    /// [`Fault::Busy`] when too many are waiting.
    pub async fn judge(
        &self,
        typed: &str,
        policy: &PasswordPolicy,
        about: &[&str],
    ) -> Result<Result<NewPassword, PasswordError>> {
        // What is longer than any name of ours is no name, and only costs time.
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
    ///
    /// # Errors
    /// [`Fault::Busy`] when too many are waiting.
    pub async fn hash(&self, password: Password) -> Result<HashedPassword> {
        let params = self.params.clone();
        self.run("hash", move |blocks| hash(&params, &password, blocks)).await?
    }

    /// Compares a password with a stored hash. Without one (there is no such user, or the user has no password) the
    /// work is the same, so that the time it takes does not tell who has an account.
    ///
    /// # Errors
    /// [`Fault::Busy`] when too many are waiting.
    pub async fn verify(&self, password: Password, stored: Option<HashedPassword>) -> Result<Verdict> {
        let stored = stored.filter(|stored| !stored.is_none()).unwrap_or_else(|| self.decoy.clone());
        let params = self.params.clone();
        self.run("verify", move |blocks| verify(&params, &password, &stored, blocks)).await?
    }

    /// How many wait for a thread.
    pub fn waiting(&self) -> usize {
        let within = |line: &Line| self.threads * Line::PLACES_PER_CORE - line.places.available_permits();
        (within(&self.line) + within(&self.known)).saturating_sub(self.threads)
    }

    /// Runs `work` on one of the threads. A caller that is dropped while it waits leaves the queue.
    async fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce(&mut [Block]) -> T + Send + 'static,
    ) -> Result<T> {
        let span = debug_span!("hash", work = name);
        let (asked, wait) = (Instant::now(), self.counts.wait.clone());
        let _place = self.line.places.try_acquire().map_err(|_| {
            self.counts.busy.inc();
            Fault::Busy
        })?;
        let turn: OwnedSemaphorePermit = self.line.turns.clone().acquire_owned().await.map_err(|_| Fault::Busy)?;
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |blocks| {
            if !reply.is_closed() {
                let waited = asked.elapsed();
                wait.observe(waited.as_secs_f64());
                let done = work(blocks);
                let took = asked.elapsed() - waited;
                span.in_scope(|| debug!(waited = waited.as_secs_f64(), took = took.as_secs_f64(), "done"));
                let _gone_by_now = reply.send(done);
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

fn work(queue: &Mutex<mpsc::Receiver<Job>>, blocks: usize) {
    // For this thread alone: Linux keeps a nice value a thread. Where it is refused, pages are a little slower.
    let _best_effort = rustix::process::setpriority_process(None, 5);
    let mut memory = Vec::new(); // made at the first job: a site that nobody logs in to stays small
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => {
                memory.resize_with(blocks, Block::default);
                job(&mut memory);
            }
            Err(mpsc::RecvError) => return,
        }
    }
}

/// A hash that no password has: its output is random instead of computed.
fn decoy(params: &Params) -> anyhow::Result<HashedPassword> {
    Ok(phc(params, &chance::bytes::<16>(), &chance::bytes::<32>())?)
}

fn hash(params: &Params, password: &Password, blocks: &mut [Block]) -> Result<HashedPassword> {
    let salt = chance::bytes::<16>();
    let mut output = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password.as_bytes(), &salt, &mut output, blocks)
        .map_err(|why| Fault::Internal(format!("argon2: {why}")))?;
    phc(params, &salt, &output)
}

fn phc(params: &Params, salt: &[u8], output: &[u8]) -> Result<HashedPassword> {
    let fault = |what: &str| Fault::Internal(format!("argon2: {what} does not fit a PHC string"));
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params).map_err(|_| fault("parameters"))?,
        salt: Some(Salt::new(salt).map_err(|_| fault("salt"))?),
        hash: Some(Output::new(output).map_err(|_| fault("hash"))?),
    };
    Ok(HashedPassword(hash.to_string()))
}

/// Any argon2 hash can be verified that is not much dearer than ours; what is not exactly ours is to be made anew at the log-in.
fn verify(params: &Params, password: &Password, stored: &HashedPassword, blocks: &mut [Block]) -> Result<Verdict> {
    let fault = |what: &str| Fault::Internal(format!("a stored password hash has {what}"));
    let phc = PasswordHash::new(&stored.0).map_err(|_| fault("no PHC form"))?;
    let algorithm = Algorithm::new(phc.algorithm).map_err(|_| fault("an unknown algorithm"))?;
    let version = match phc.version {
        Some(version) => Version::try_from(version).map_err(|_| fault("an unknown version"))?,
        None => Version::V0x10,
    };
    let theirs = Params::try_from(&phc).map_err(|_| fault("parameters that argon2 refuses"))?;
    let (Some(salt), Some(expected)) = (phc.salt, phc.hash) else {
        return Err(fault("no salt or no output"));
    };
    if theirs.m_cost() > params.m_cost().saturating_mul(DEAREST)
        || theirs.t_cost() > params.t_cost().saturating_mul(DEAREST)
    {
        warn!(
            "a stored password hash has m={}, t={}, more than {DEAREST} times LATCHKEY_HASH_MEMORY or LATCHKEY_HASH_PASSES: \
             it is not verified, and its user needs a reset link",
            theirs.m_cost(),
            theirs.t_cost()
        );
        hash(params, password, blocks)?; // as much work as for nobody's
        return Ok(Verdict { matches: false, outdated: true });
    }
    let mut output = vec![0; expected.len()];
    let argon2 = Argon2::new(algorithm, version, theirs.clone());
    let outcome = if theirs.block_count() <= blocks.len() {
        argon2.hash_password_into_with_memory(password.as_bytes(), &salt, &mut output, &mut *blocks)
    } else {
        argon2.hash_password_into(password.as_bytes(), &salt, &mut output)
    };
    outcome.map_err(|why| Fault::Internal(format!("argon2: {why}")))?;

    let matches = Output::new(&output).is_ok_and(|output| output == expected); // in constant time
    if !matches && let Some(rest) = rest(params, &theirs) {
        // Once the cost is raised, hashes from before are cheaper than the decoy until their users log in again, and
        // a quick refusal would name those who have an account.
        Argon2::new(algorithm, version, rest)
            .hash_password_into_with_memory(password.as_bytes(), &salt, &mut output, blocks)
            .map_err(|why| Fault::Internal(format!("argon2: {why}")))?;
    }
    let outdated = algorithm != Algorithm::Argon2id
        || version != Version::V0x13
        || (theirs.m_cost(), theirs.t_cost(), theirs.p_cost()) != (params.m_cost(), params.t_cost(), params.p_cost())
        || expected.len() != 32;
    Ok(Verdict { matches, outdated })
}

/// The work that a cheaper hash leaves undone of what one of ours would take, to about 4 %: a first pass is cheaper
/// than the others, and less memory is quicker. Of the third of the time that told before, that much still tells.
fn rest(ours: &Params, theirs: &Params) -> Option<Params> {
    let work = |params: &Params| u64::from(params.m_cost()) * u64::from(params.t_cost());
    let rest = work(ours).checked_sub(work(theirs))?;
    // In no more memory than ours, which is there already.
    let passes = rest.div_ceil(ours.m_cost().into()).max(1);
    Params::new(u32::try_from(rest / passes).ok()?, u32::try_from(passes).ok()?, 1, None).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    const OTTER: &str = "velvet otter bakes rye";

    fn hasher() -> Hasher {
        Hasher::start(19_456, 2, Metrics::default().hashing).expect("threads")
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

    /// Known answers from the reference implementation's own test file (argon2's `test.c`), so that what we
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

    /// By the memory that it fills, because a clock is no judge on a busy machine; `examples/timing` measures.
    #[test]
    fn a_wrong_password_for_a_cheaper_hash_is_as_much_work_as_nobodys() {
        let cheap = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let (ours, cheap) = (Params::new(19_456, 2, 1, Some(32)).expect("fine"), HashedPassword(cheap.into()));
        for (password, matches, filled) in [("password", true, 256), (OTTER, false, 19_200)] {
            let mut blocks = vec![Block::default(); ours.block_count()];
            let verdict = verify(&ours, &Password::new(password), &cheap, &mut blocks).expect("verified");
            let filled_now = blocks.iter().filter(|block| block.as_ref().iter().any(|word| *word != 0)).count();
            assert_eq!((verdict.matches, filled_now), (matches, filled), "{password}");
        }
    }

    #[test]
    fn a_cheaper_hash_is_made_as_dear_as_ours() {
        let params = |memory, passes| Params::new(memory, passes, 1, None).expect("fine");
        for (theirs, ours, left) in [
            ((19_456, 2), (19_456, 3), Some((19_456, 1))),
            ((19_456, 2), (65_536, 2), Some((46_080, 2))),
            ((256, 2), (19_456, 2), Some((19_200, 2))),
            ((19_456, 2), (19_456, 2), None),
            ((65_536, 3), (19_456, 2), None),
        ] {
            let rest = rest(&params(ours.0, ours.1), &params(theirs.0, theirs.1));
            assert_eq!(rest.map(|rest| (rest.m_cost(), rest.t_cost())), left, "{theirs:?} to {ours:?}");
        }
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_those_who_go_away_leave_it() {
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
