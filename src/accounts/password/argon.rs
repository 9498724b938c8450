//! Argon2: what a hash is, and how a password is compared with one. Everything here blocks; [`Hasher`](super::hasher::Hasher)
//! runs it on threads of its own.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Params, Version};
use tracing::warn;

use super::engine::{Engine, Input};
use super::{HashedPassword, Password};
use crate::accounts::{Fault, Result};
use crate::chance;

/// How many times our own memory or passes a stored hash may ask for. Without this limit, a hash with m = 4 GiB that an
/// attacker has planted in the table would end the process at the next log-in.
const DEAREST: u32 = 4;

/// The outcome of the comparison of a password with a stored hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is the password.
    pub matches: bool,
    /// Whether the hash has another kind or other parameters than new ones.
    pub outdated: bool,
}

/// Returns a hash that no password has: its output is random instead of computed.
pub(super) fn decoy(params: &Params) -> anyhow::Result<HashedPassword> {
    Ok(phc(params, &chance::bytes::<16>(), &chance::bytes::<32>())?)
}

/// Hashes a password under a fresh salt.
pub(super) fn hash(params: &Params, password: &Password, engine: &mut dyn Engine) -> Result<HashedPassword> {
    let salt = chance::bytes::<16>();
    let mut output = [0; 32];
    let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
    let input = Input { algorithm, version, params, password: password.as_bytes(), salt: &salt, secret: &[] };
    engine.compute(&input, &mut output)?;
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

/// Compares a password with a stored hash. Every argon2 hash can be verified that is not much more expensive than ours. A
/// hash of another kind than ours is outdated, and is replaced at the log-in.
pub(super) fn verify(
    params: &Params,
    password: &Password,
    stored: &HashedPassword,
    engine: &mut dyn Engine,
) -> Result<Verdict> {
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
        hash(params, password, engine)?; // as much work as for an unknown user
        return Ok(Verdict { matches: false, outdated: true });
    }
    let mut output = vec![0; expected.len()];
    let input = Input { algorithm, version, params: &theirs, password: password.as_bytes(), salt: &salt, secret: &[] };
    engine.compute(&input, &mut output)?;

    let matches = Output::new(&output).is_ok_and(|output| output == expected); // in constant time
    if !matches && let Some(rest) = rest(params, &theirs) {
        // When the operator raises the cost, older hashes are cheaper than the decoy until their users log in again. A quick
        // refusal would tell which names have an account.
        engine.compute(&Input { params: &rest, ..input }, &mut output)?;
    }
    let outdated = algorithm != Algorithm::Argon2id
        || version != Version::V0x13
        || (theirs.m_cost(), theirs.t_cost(), theirs.p_cost()) != (params.m_cost(), params.t_cost(), params.p_cost())
        || expected.len() != 32;
    Ok(Verdict { matches, outdated })
}

/// Returns the work that is left if a cheaper hash is to take as long as one of ours. The remaining difference is about
/// 4 %, because a first pass is cheaper than the others, and less memory is quicker. Without this, the difference was 33 %.
fn rest(ours: &Params, theirs: &Params) -> Option<Params> {
    let work = |params: &Params| u64::from(params.m_cost()) * u64::from(params.t_cost());
    let rest = work(ours).checked_sub(work(theirs))?;
    // It takes no more memory than ours, which is allocated already.
    let passes = rest.div_ceil(ours.m_cost().into()).max(1);
    Params::new(u32::try_from(rest / passes).ok()?, u32::try_from(passes).ok()?, 1, None).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::accounts::password::engine::Fast;

    const OTTER: &str = "velvet otter bakes rye";

    /// Adds up the work, in KiB of memory times passes.
    #[derive(Default)]
    struct Counting(u32);

    impl Engine for Counting {
        fn compute(&mut self, input: &Input<'_>, output: &mut [u8]) -> Result<()> {
            self.0 += input.params.m_cost() * input.params.t_cost();
            Fast::new(0).compute(input, output)
        }

        fn left_at(&self) -> Option<Instant> {
            None
        }

        fn rest(&mut self) {}
    }

    /// Compares the work that is asked for, because a clock tells nothing on a busy machine; `examples/timing` measures.
    #[test]
    fn a_wrong_password_for_a_cheaper_hash_is_as_much_work_as_for_an_unknown_user() {
        let cheap = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let (ours, cheap) = (Params::new(19_456, 2, 1, Some(32)).expect("fine"), HashedPassword(cheap.into()));
        for (password, matches, work) in [("password", true, 256 * 2), (OTTER, false, 19_456 * 2)] {
            let mut engine = Counting::default();
            let verdict = verify(&ours, &Password::new(password), &cheap, &mut engine).expect("verified");
            assert_eq!((verdict.matches, engine.0), (matches, work), "{password}");
        }
    }

    #[test]
    fn a_cheaper_hash_is_made_as_expensive_as_ours() {
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
}
