//! What computes argon2.

use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::accounts::{Fault, Result};

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
}

/// Computes hashes on one thread. The memory is kept for the next hash and holds nothing meanwhile: from what a hash leaves
/// there, an attacker who reads the process's memory could check guesses without the cost of argon2.
pub trait Engine {
    /// Fills `output`.
    ///
    /// # Errors
    /// When argon2 refuses the input, or there is no memory.
    fn compute(&mut self, input: &Input<'_>, output: &mut [u8]) -> Result<()>;
}

/// The crate `argon2` of RustCrypto.
pub struct Reference {
    kept: usize,
    blocks: Vec<Block>,
}

impl Reference {
    /// Returns an engine that keeps memory of so many KiB, from the first hash on.
    pub fn new(kept: usize) -> Self {
        Self { kept, blocks: Vec::new() }
    }
}

impl Engine for Reference {
    fn compute(&mut self, input: &Input<'_>, output: &mut [u8]) -> Result<()> {
        let Input { algorithm, version, params, password, salt } = *input;
        let argon2 = Argon2::new(algorithm, version, params.clone());
        if params.block_count() > self.kept {
            return argon2.hash_password_into(password, salt, output).map_err(refused);
        }
        self.blocks.resize(self.kept, Block::new());
        let outcome = argon2.hash_password_into_with_memory(password, salt, output, &mut self.blocks);
        self.blocks[..params.block_count()].fill(Block::new());
        outcome.map_err(refused)
    }
}

fn refused(why: impl std::fmt::Display) -> Fault {
    Fault::Internal(format!("argon2: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_for_hashes_of_our_size_and_holds_nothing_between_them() {
        let mut engine = Reference::new(64);
        for (memory, kept) in [(16, 64), (64, 64), (65, 64)] {
            let params = Params::new(memory, 1, 1, None).expect("fine");
            let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
            let input = Input { algorithm, version, params: &params, password: b"otter", salt: &[7; 16] };
            engine.compute(&input, &mut [0; 32]).expect("computed");
            assert_eq!(engine.blocks.len(), kept, "{memory} KiB");
            assert!(engine.blocks.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)));
        }
    }
}
