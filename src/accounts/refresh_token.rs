//! Refresh tokens. Each names its authorization and its number, under a key of ours: the database holds the number of the newest
//! only, and nothing that opens anything.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::keys;
use crate::secret::Secret;

/// Makes and reads refresh tokens. The first key makes them, and all of them read.
pub struct RefreshTokens(Vec<Hkdf<Sha256>>);

impl RefreshTokens {
    /// Returns a maker with these secrets.
    pub fn new(secret: &Secret) -> Self {
        Self(secret.iter().map(|secret| Hkdf::new(None, secret)).collect())
    }

    /// Returns the token with this number. It is always the same.
    pub(in crate::accounts) fn make(&self, authorization: Uuid, number: i32) -> Zeroizing<String> {
        let named = name(authorization, number);
        let proof = self.0.first().map(|key| proof(key, &named)).unwrap_or_default();
        Zeroizing::new(URL_SAFE_NO_PAD.encode([&named[..], &proof[..]].concat()))
    }

    /// Returns the authorization and the number of a token of ours.
    pub(in crate::accounts) fn read(&self, text: &str) -> Option<(Uuid, i32)> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        let (named, shown) = bytes.split_at_checked(NAME)?;
        let ours = self.0.iter().any(|key| verify_slices_are_equal(&proof(key, named)[..], shown).is_ok());
        let (id, number) = named.split_at(16);
        let number = i32::from_be_bytes(number.try_into().ok()?);
        ours.then_some((Uuid::from_slice(id).ok()?, number))
    }
}

const NAME: usize = 20;

fn name(authorization: Uuid, number: i32) -> [u8; NAME] {
    let mut name = [0; NAME];
    name[..16].copy_from_slice(authorization.as_bytes());
    name[16..].copy_from_slice(&number.to_be_bytes());
    name
}

fn proof(key: &Hkdf<Sha256>, name: &[u8]) -> Zeroizing<[u8; 32]> {
    keys::derive(key, &[&b"latchkey refresh token v1 "[..], name].concat())
}

impl fmt::Debug for RefreshTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshTokens(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_ours_or_none() {
        let tokens = |secret: &str| RefreshTokens::new(&secret.parse().expect("long enough"));
        let (old, new) = ("old-Zt4uQm9Xv2Lr7Kc1Wb6Nh3Fp8Gs5Jy0D", "new-Ra8eYk3Tq6Mw1Cz9Vd4Hn7Bj2Px5Lf0S");
        let (ours, id) = (tokens(old), Uuid::from_u128(7));
        let token = ours.make(id, 3);
        assert_eq!(ours.read(&token), Some((id, 3)));
        assert_eq!(*ours.make(id, 3), *token, "the same each time");
        assert_eq!(tokens(&format!("{new},{old}")).read(&token), Some((id, 3)), "while the secret changes");
        assert_eq!(tokens(new).read(&token), None);
        let bytes = URL_SAFE_NO_PAD.decode(&*token).expect("base64");
        for changed in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[changed] ^= 1;
            assert_eq!(ours.read(&URL_SAFE_NO_PAD.encode(forged)), None, "byte {changed}");
        }
        for bad in ["", "AAAA", "not base64!", &token[..token.len() - 2], &format!("{}AA", *token)] {
            assert_eq!(ours.read(bad), None, "{bad}");
        }
    }
}
