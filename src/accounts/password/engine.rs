//! What computes argon2. The fast engine has code for AVX-512, AVX2 and NEON, and is young. The reference engine is older and
//! in wide use. At each start the fast engine has to agree with it, or the reference engine does the work.

use std::hint;
use std::time::Instant;

use argon2::{Algorithm, Argon2, AssociatedData, Block, Params, ParamsBuilder, Version};
use argon2_rust::params::{Memory, TagLen};
use tracing::{debug, warn};

use crate::accounts::{Fault, Result};
use crate::chance;
use crate::config::HashEngine;

/// What one hash is computed from (RFC 9106, 3.1). The associated data is in the parameters.
pub struct Input<'a> {
    /// Which argon2 it is.
    pub algorithm: Algorithm,
    /// The version of it.
    pub version: Version,
    /// Memory, passes and lanes.
    pub params: &'a Params,
    /// The password.
    pub password: &'a [u8],
    /// The salt.
    pub salt: &'a [u8],
    /// The secret value. Our hashes have none.
    pub secret: &'a [u8],
}

/// Computes hashes on one thread, in memory that is kept for the next hash.
///
/// From what a hash leaves there, an attacker who reads the process's memory could check guesses without the cost of argon2. The
/// next hash of our size writes all of it. A thread that has none calls [`Engine::rest`], so no hash waits for a wipe.
pub trait Engine {
    /// Fills `output`.
    ///
    /// # Errors
    /// When argon2 refuses the input, or there is no memory.
    fn compute(&mut self, input: &Input<'_>, output: &mut [u8]) -> Result<()>;

    /// Returns when the oldest hash was done of which something is left in the memory.
    fn left_at(&self) -> Option<Instant>;

    /// Overwrites what is left.
    fn rest(&mut self);
}

/// Returns a new engine for a thread, which keeps the memory for hashes with `params`. What needs more gets memory of its own.
pub fn start(which: HashEngine, params: &Params) -> Box<dyn Engine> {
    match which {
        HashEngine::Fast => Box::new(Fast::new(params.block_count())),
        HashEngine::Reference => Box::new(Reference::new(params.block_count())),
    }
}

/// Returns the engine that the operator has chosen, or the reference engine if `fast` does not agree with it.
pub fn checked(chosen: HashEngine, fast: &mut dyn Engine) -> HashEngine {
    if chosen == HashEngine::Fast
        && let Err(what) = compare(fast)
    {
        warn!(
            "the fast hash engine {what}, so the reference engine hashes passwords: log-ins work, and take up to twice the \
             processor time. Please report it with the model of the processor, which runs the code for {}. \
             LATCHKEY_HASH_ENGINE=reference ends this warning",
            argon2_rust::detected_backend()
        );
        return HashEngine::Reference;
    }
    debug!(engine = ?chosen, backend = %argon2_rust::detected_backend(), "hash engine");
    chosen
}

/// Compares the engine with RFC 9106 and, for a random password, with the reference engine. Says what is wrong.
fn compare(engine: &mut dyn Engine) -> std::result::Result<(), &'static str> {
    let data = AssociatedData::new(&[4; 12]).map_err(|_| UNCHECKED)?;
    let params = ParamsBuilder::new().m_cost(32).t_cost(3).p_cost(4).data(data).build().map_err(|_| UNCHECKED)?;
    let (password, salt, secret) = (&[1; 32], &[2; 16], &[3; 8]);
    for (algorithm, tag) in RFC_TAGS {
        let input = Input { algorithm, version: Version::V0x13, params: &params, password, salt, secret };
        let mut output = [0; 32];
        if engine.compute(&input, &mut output).is_err() || output != tag {
            return Err("gives another hash than RFC 9106");
        }
    }
    // So little memory takes a millisecond, but all happens in it that happens in a hash of our size. A quarter of it is more
    // than the 128 blocks whose addresses argon2id computes together.
    let params = Params::new(640, 2, 1, Some(32)).map_err(|_| UNCHECKED)?;
    let (password, salt) = (&chance::bytes::<24>(), &chance::bytes::<16>());
    let algorithm = Algorithm::Argon2id;
    let input = Input { algorithm, version: Version::V0x13, params: &params, password, salt, secret: &[] };
    let (mut ours, mut theirs) = ([0; 32], [0; 32]);
    Reference::new(0).compute(&input, &mut theirs).map_err(|_| UNCHECKED)?;
    if engine.compute(&input, &mut ours).is_err() || ours != theirs {
        return Err("gives another hash than the reference engine");
    }
    Ok(())
}

/// What is wrong with an engine that could not be compared.
const UNCHECKED: &str = "could not be compared with the reference engine";

/// The hashes of the test vectors in RFC 9106, 5.1 to 5.3.
#[rustfmt::skip]
const RFC_TAGS: [(Algorithm, [u8; 32]); 3] = [
    (Algorithm::Argon2d, [
        0x51, 0x2b, 0x39, 0x1b, 0x6f, 0x11, 0x62, 0x97, 0x53, 0x71, 0xd3, 0x09, 0x19, 0x73, 0x42, 0x94,
        0xf8, 0x68, 0xe3, 0xbe, 0x39, 0x84, 0xf3, 0xc1, 0xa1, 0x3a, 0x4d, 0xb9, 0xfa, 0xbe, 0x4a, 0xcb,
    ]),
    (Algorithm::Argon2i, [
        0xc8, 0x14, 0xd9, 0xd1, 0xdc, 0x7f, 0x37, 0xaa, 0x13, 0xf0, 0xd7, 0x7f, 0x24, 0x94, 0xbd, 0xa1,
        0xc8, 0xde, 0x6b, 0x01, 0x6d, 0xd3, 0x88, 0xd2, 0x99, 0x52, 0xa4, 0xc4, 0x67, 0x2b, 0x6c, 0xe8,
    ]),
    (Algorithm::Argon2id, [
        0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b, 0x53, 0xc9,
        0xd0, 0x1e, 0xf0, 0x45, 0x2d, 0x75, 0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9, 0x6b, 0x01, 0xe6, 0x59,
    ]),
];

/// The crate `argon2-rust`. Its feature `zeroize-memory` is off: it would wipe all memory after each hash.
pub struct Fast {
    kept: usize,
    hasher: argon2_rust::Hasher,
    left_at: Option<Instant>,
}

impl Fast {
    /// Returns an engine that keeps memory of so many KiB, from the first hash on.
    pub fn new(kept: usize) -> Self {
        let (algorithm, version) = (argon2_rust::Algorithm::Argon2id, argon2_rust::Version::V0x13);
        let argon2 = argon2_rust::Argon2::new(algorithm, version, argon2_rust::Params::default());
        Self { kept, hasher: argon2.hasher(), left_at: None }
    }

    fn hash(&mut self, input: &Input<'_>, output: &mut [u8]) -> std::result::Result<(), argon2_rust::Error> {
        let argon2 = in_its_words(input, output.len())?;
        let Input { params, password, salt, secret, .. } = *input;
        if params.block_count() > self.kept {
            // Its memory is a mapping of its own, which Linux wipes before anybody gets it again.
            return argon2.hash_into_with_ad(password, salt, secret, params.data(), output);
        }
        if self.left_at.is_none() {
            // All of it at once: memory that becomes too small would go to the allocator as it is.
            self.hasher.set_argon2(overwriting(self.kept)?);
            self.hasher.reserve()?;
        }
        self.left_at.get_or_insert_with(Instant::now);
        self.hasher.set_argon2(argon2);
        self.hasher.hash_into_with_ad(password, salt, secret, params.data(), output)?;
        if params.block_count() == self.kept {
            self.left_at = Some(Instant::now());
        }
        Ok(())
    }

    fn overwrite(&mut self) -> std::result::Result<(), argon2_rust::Error> {
        self.hasher.set_argon2(overwriting(self.kept)?);
        self.hasher.hash_into(b"", &[0; 16], &mut [0; 32])
    }
}

/// Returns the hash that writes every block of so many KiB of memory, and does no more: one pass (RFC 9106, 3.2). If the mapping
/// went back to Linux instead, the next log-in would take 4 ms more.
fn overwriting(kept: usize) -> std::result::Result<argon2_rust::Argon2, argon2_rust::Error> {
    let params = argon2_rust::Params::builder().memory(Memory::kib(kept as u64)).passes(1).lanes(1).threads(1);
    let params = params.tag_len(TagLen::bytes(32)).build()?;
    Ok(argon2_rust::Argon2::new(argon2_rust::Algorithm::Argon2id, argon2_rust::Version::V0x13, params))
}

impl Engine for Fast {
    fn compute(&mut self, input: &Input<'_>, output: &mut [u8]) -> Result<()> {
        self.hash(input, output).map_err(refused)
    }

    fn left_at(&self) -> Option<Instant> {
        self.left_at
    }

    fn rest(&mut self) {
        if self.left_at.take().is_some() && self.overwrite().is_err() {
            self.hasher.clear();
        }
    }
}

/// Returns the same input in the types of `argon2-rust`. It never starts threads.
fn in_its_words(input: &Input<'_>, output: usize) -> std::result::Result<argon2_rust::Argon2, argon2_rust::Error> {
    let algorithm = match input.algorithm {
        Algorithm::Argon2d => argon2_rust::Algorithm::Argon2d,
        Algorithm::Argon2i => argon2_rust::Algorithm::Argon2i,
        Algorithm::Argon2id => argon2_rust::Algorithm::Argon2id,
    };
    let version = match input.version {
        Version::V0x10 => argon2_rust::Version::V0x10,
        Version::V0x13 => argon2_rust::Version::V0x13,
    };
    let params = argon2_rust::Params::builder()
        .memory(Memory::kib(input.params.m_cost().into()))
        .passes(input.params.t_cost())
        .lanes(input.params.p_cost())
        .threads(1)
        .tag_len(TagLen::bytes(output as u64))
        .build()?;
    Ok(argon2_rust::Argon2::new(algorithm, version, params))
}

/// The crate `argon2` of RustCrypto.
pub struct Reference {
    kept: usize,
    blocks: Vec<Block>,
    left_at: Option<Instant>,
}

impl Reference {
    /// Returns an engine that keeps memory of so many KiB, from the first hash on.
    pub fn new(kept: usize) -> Self {
        Self { kept, blocks: Vec::new(), left_at: None }
    }
}

impl Engine for Reference {
    fn compute(&mut self, input: &Input<'_>, output: &mut [u8]) -> Result<()> {
        let Input { algorithm, version, params, password, salt, secret } = *input;
        let argon2 = Argon2::new_with_secret(secret, algorithm, version, params.clone()).map_err(refused)?;
        if params.block_count() > self.kept {
            let mut own = vec![Block::new(); params.block_count()];
            let outcome = argon2.hash_password_into_with_memory(password, salt, output, &mut own);
            own.fill(Block::new());
            hint::black_box(own); // or the compiler would leave the wipe out
            return outcome.map_err(refused);
        }
        self.left_at.get_or_insert_with(Instant::now);
        self.blocks.resize(self.kept, Block::new());
        argon2.hash_password_into_with_memory(password, salt, output, &mut self.blocks).map_err(refused)?;
        if params.block_count() == self.kept {
            self.left_at = Some(Instant::now());
        }
        Ok(())
    }

    fn left_at(&self) -> Option<Instant> {
        self.left_at
    }

    fn rest(&mut self) {
        if self.left_at.take().is_some() {
            self.blocks.fill(Block::new());
        }
    }
}

fn refused(why: impl std::fmt::Display) -> Fault {
    Fault::Internal(format!("argon2: {why}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::{fs, mem, thread};

    use backends::Available;

    use super::*;

    /// The fast engine on a backend that a test has chosen.
    struct On(Available);

    impl Engine for On {
        fn compute(&mut self, input: &Input<'_>, output: &mut [u8]) -> Result<()> {
            let argon2 = in_its_words(input, output.len()).map_err(refused)?;
            let inputs = [input.password, input.salt, input.secret, input.params.data()];
            self.0.hash_into(&argon2, inputs, output).map_err(refused)
        }

        fn left_at(&self) -> Option<Instant> {
            None
        }

        fn rest(&mut self) {}
    }

    /// An engine with a fault in one algorithm and one size of memory.
    struct Faulty {
        algorithm: Algorithm,
        memory: u32,
        refuses: bool,
    }

    impl Engine for Faulty {
        fn compute(&mut self, input: &Input<'_>, output: &mut [u8]) -> Result<()> {
            Reference::new(0).compute(input, output)?;
            if (input.algorithm, input.params.m_cost()) == (self.algorithm, self.memory) {
                output[31] ^= 1;
                return if self.refuses { Err(refused("no")) } else { Ok(()) };
            }
            Ok(())
        }

        fn left_at(&self) -> Option<Instant> {
            None
        }

        fn rest(&mut self) {}
    }

    /// Returns which engine hashes after the check, and what the log says.
    fn choose(chosen: HashEngine, fast: &mut dyn Engine) -> (HashEngine, String) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let writer = Mutex::new(file.reopen().expect("the same file"));
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_writer(writer).finish();
        let engine = tracing::subscriber::with_default(log, || checked(chosen, fast));
        (engine, fs::read_to_string(file.path()).expect("lines"))
    }

    #[test]
    fn every_engine_and_every_backend_has_the_hashes_of_rfc_9106() {
        for kept in [0, 32, 640] {
            assert_eq!(compare(&mut Fast::new(kept)), Ok(()));
            assert_eq!(compare(&mut Reference::new(kept)), Ok(()));
        }
        for backend in Available::all() {
            assert_eq!(compare(&mut On(backend)), Ok(()), "{backend}");
        }
    }

    #[test]
    fn a_fast_engine_that_is_wrong_is_replaced_and_the_log_says_so() {
        let [d, i, id] = [Algorithm::Argon2d, Algorithm::Argon2i, Algorithm::Argon2id];
        let places = [(d, 32), (i, 32), (id, 32), (id, 640)];
        for ((algorithm, memory), refuses) in places.into_iter().flat_map(|place| [(place, false), (place, true)]) {
            let (engine, log) = choose(HashEngine::Fast, &mut Faulty { algorithm, memory, refuses });
            assert_eq!(engine, HashEngine::Reference, "{algorithm} with {memory} KiB");
            assert_eq!(log.lines().count(), 1, "{log}");
            assert!(log.contains("WARN") && log.contains("LATCHKEY_HASH_ENGINE=reference"), "{log}");
        }
        assert_eq!(choose(HashEngine::Fast, &mut Fast::new(0)), (HashEngine::Fast, String::new()));
        let faulty = &mut Faulty { algorithm: Algorithm::Argon2id, memory: 32, refuses: false };
        assert_eq!(choose(HashEngine::Reference, faulty), (HashEngine::Reference, String::new()), "it is not used");
    }

    #[test]
    fn memory_is_kept_for_hashes_of_our_size_and_only_these_write_all_of_it() {
        let (mut fast, mut reference) = (Fast::new(64), Reference::new(64));
        let mut left = [None, None];
        for (memory, changes) in [(16, true), (64, true), (68, false), (16, false), (64, true)] {
            let params = Params::new(memory, 1, 1, None).expect("fine");
            let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
            let input = Input { algorithm, version, params: &params, password: b"otter", salt: &[7; 16], secret: &[] };
            let [mut ours, mut theirs] = [[0; 32]; 2];
            fast.compute(&input, &mut ours).expect("computed");
            reference.compute(&input, &mut theirs).expect("computed");
            assert_eq!((ours, fast.hasher.reserved_blocks()), (theirs, 64), "{memory} KiB");
            let before = mem::replace(&mut left, [fast.left_at(), reference.left_at()]);
            assert_eq!((0..2).map(|n| left[n] != before[n]).collect::<Vec<_>>(), [changes; 2], "{memory} KiB");
        }
        fast.rest();
        reference.rest();
        assert_eq!([fast.left_at(), reference.left_at()], [None; 2]);
        assert!(reference.blocks.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)));
    }

    #[test]
    fn ten_thousand_random_inputs_have_one_hash_on_every_backend() {
        const INPUTS: usize = 10_000;
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| (0..INPUTS.div_ceil(threads)).for_each(|_| compare_a_random_input()));
            }
        });
    }

    /// Compares all engines and backends in every kind of hash that may be stored.
    fn compare_a_random_input() {
        let below = |limit: u32| u32::from_le_bytes(chance::bytes()) % limit;
        let any = |least: u32, most: u32| chance::bytes::<128>()[..(least + below(most + 1 - least)) as usize].to_vec();
        let algorithm =
            [Algorithm::Argon2d, Algorithm::Argon2i, Algorithm::Argon2id, Algorithm::Argon2id][below(4) as usize];
        let version = [Version::V0x10, Version::V0x13][below(2) as usize];
        let lanes = [1, 1, 1, 1 + below(4)][below(4) as usize];
        let most = if below(16) == 0 { 1024 } else { 256 };
        let (memory, passes) = (8 * lanes + below(most + 1 - 8 * lanes), 1 + below(4));
        let data = AssociatedData::new(&any(0, 32)).expect("short enough");
        let params = ParamsBuilder::new().m_cost(memory).t_cost(passes).p_cost(lanes).data(data).build().expect("fine");
        let (password, salt, secret) = (any(0, 128), any(8, 32), any(0, 16));
        let input = Input { algorithm, version, params: &params, password: &password, salt: &salt, secret: &secret };

        let mut expected = any(16, 64);
        Reference::new(0).compute(&input, &mut expected).expect("computed");
        let on_each = Available::all().map(|backend| (backend.to_string(), Box::new(On(backend)) as Box<dyn Engine>));
        for (name, mut engine) in on_each.chain([("fast".to_owned(), start(HashEngine::Fast, &params))]) {
            let mut output = vec![0; expected.len()];
            engine.compute(&input, &mut output).expect("computed");
            assert_eq!(
                output, expected,
                "{name}: {algorithm:?} {version:?} {params:?} of {password:?}, {salt:?}, {secret:?}"
            );
        }
    }
}
