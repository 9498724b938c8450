//! Seals for texts that rest in the database for a moment, so that a thief of the database cannot read them.
//!
//! What is sealed is known by its digest, such as that of a form. The name of its row and the key of its seal come from the
//! secret and that digest together (HKDF-SHA256, RFC 5869). The database has neither of the two.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Makes seals.
pub struct Seals(Hkdf<Sha256>);

/// The seal of one thing: AES-256-GCM with a key that no other thing has.
pub struct Seal {
    name: String,
    key: RandomizedNonceKey,
}

impl Seals {
    /// Returns a maker of seals with the newest secret.
    pub fn new(secret: &Secret) -> Self {
        Self(Hkdf::new(None, secret.iter().next().unwrap_or_default()))
    }

    /// Returns a maker of seals with each of the secrets, newest first.
    pub fn all(secret: &Secret) -> Vec<Self> {
        secret.iter().map(|secret| Self(Hkdf::new(None, secret))).collect()
    }

    /// Returns the seal of the thing that has this digest.
    pub fn of(&self, digest: &[u8; 32]) -> Seal {
        let name = self.derive("name", digest);
        let key = RandomizedNonceKey::new(&AES_256_GCM, self.derive("key", digest).as_slice());
        Seal { name: URL_SAFE_NO_PAD.encode(name.as_slice()), key: key.expect("32 bytes") }
    }

    fn derive(&self, what: &str, digest: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        let label = [b"latchkey seal ", what.as_bytes(), b" v1", digest].concat();
        self.0.expand(&label, key.as_mut_slice()).expect("a short output");
        key
    }
}

impl Seal {
    /// Returns the name of the thing in the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the sealed text, or `None` if the library fails.
    pub fn close(&self, text: &str) -> Option<Vec<u8>> {
        let mut sealed = text.as_bytes().to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(&self.name), &mut sealed).ok()?;
        Some([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// Returns the text, unless it was sealed by another key or was changed.
    pub fn open(&self, sealed: &[u8]) -> Option<String> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let text = self.key.open_in_place(nonce, Aad::from(&self.name), &mut text).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }
}

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seals(…)")
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_and_the_same_digest_open_a_seal() {
        let seals = |secret: &str| Seals::new(&secret.parse().expect("long enough"));
        let (ours, theirs) = (seals("Zt4uQm9Xv2Lr7Kc1Wb6Nh3Fp8Gs5Jy0D"), seals("Ra8eYk3Tq6Mw1Cz9Vd4Hn7Bj2Px5Lf0S"));
        let sealed = ours.of(&[1; 32]).close("session=secret").expect("sealed");
        assert_eq!(ours.of(&[1; 32]).open(&sealed).as_deref(), Some("session=secret"));
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_ne!(ours.of(&[1; 32]).close("session=secret").expect("sealed"), sealed, "another nonce each time");
        for other in [ours.of(&[2; 32]), theirs.of(&[1; 32])] {
            assert_eq!(other.open(&sealed), None);
            assert_ne!(other.name(), ours.of(&[1; 32]).name());
        }
        for changed in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[changed] ^= 1;
            assert_eq!(ours.of(&[1; 32]).open(&forged), None, "byte {changed}");
        }
        assert_eq!(ours.of(&[1; 32]).open(&sealed[..5]), None);
    }
}
