//! Key pairs: made, as a JWK for those who check, and as a key for who signs.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::SigningAlgorithm;
use crate::accounts::{Fault, Result};

/// A new key pair.
pub(super) struct Pair {
    /// The private key, as PKCS#8 in base64url.
    pub private: Zeroizing<String>,
    /// The public key (RFC 7517), with its name.
    pub public: Value,
}

/// Makes a key pair. For RSA this takes a tenth of a second and more of processor time.
///
/// # Errors
/// When the library fails.
pub(super) fn make(algorithm: SigningAlgorithm, id: &str) -> Result<Pair> {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let failed = |_| Fault::Internal(format!("no key pair for {algorithm:?} could be made"));
    let (private, mut public) = match algorithm {
        SigningAlgorithm::Rs256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
            let (public, private) = (pair.public_key(), AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(failed)?);
            let number = |number: aws_lc_rs::io::Positive<'_>| text(number.big_endian_without_leading_zero());
            let public = json!({ "kty": "RSA", "n": number(public.modulus()), "e": number(public.exponent()) });
            (text(private.as_ref()), public)
        }
        SigningAlgorithm::Es256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
            let private = pair.to_pkcs8v1().map_err(failed)?;
            // An uncompressed point: 4, x, y (SEC 1, 2.3.3).
            let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
            (text(private.as_ref()), json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) }))
        }
        SigningAlgorithm::EdDsa => {
            let pair = Ed25519KeyPair::generate().map_err(failed)?;
            let private = pair.to_pkcs8v1().map_err(failed)?;
            (text(private.as_ref()), json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) }))
        }
    };
    public["use"] = "sig".into();
    public["alg"] = json!(in_jwts(algorithm));
    public["kid"] = id.into();
    Ok(Pair { private: Zeroizing::new(private), public })
}

/// A private key that signs. It is read once: `jsonwebtoken` reads and checks it anew for each signature, which takes an RSA key as
/// long as the signature itself.
pub(super) enum Signer {
    Rsa(RsaKeyPair),
    Elliptic(EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
}

impl Signer {
    /// Reads a key from its PKCS#8 in base64url. Returns `None` if it is none.
    pub(super) fn read(algorithm: SigningAlgorithm, private: &str) -> Option<Self> {
        let der = Zeroizing::new(URL_SAFE_NO_PAD.decode(private).ok()?);
        Some(match algorithm {
            SigningAlgorithm::Rs256 => Self::Rsa(RsaKeyPair::from_pkcs8(&der).ok()?),
            SigningAlgorithm::Es256 => {
                Self::Elliptic(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).ok()?)
            }
            SigningAlgorithm::EdDsa => Self::Edwards(Ed25519KeyPair::from_pkcs8(&der).ok()?),
        })
    }

    /// Returns the signature of a message (RFC 7518, 3.3 and 3.4; RFC 8037, 3.1).
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let failed = |_| Fault::Internal("a key of the site does not sign".into());
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Self::Elliptic(key) => Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Self::Edwards(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

/// Returns the algorithm by its name in JWTs.
pub(super) fn in_jwts(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::Rs256 => Algorithm::RS256,
        SigningAlgorithm::Es256 => Algorithm::ES256,
        SigningAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{DecodingKey, crypto};
    use sea_orm::Iterable;

    use super::*;

    #[test]
    fn what_one_half_signs_the_other_half_verifies() {
        for algorithm in SigningAlgorithm::iter() {
            let (pair, other) = (make(algorithm, "a").expect("made"), make(algorithm, "b").expect("made"));
            let jwk = |pair: &Pair| serde_json::from_value::<Jwk>(pair.public.clone()).expect("a JWK");
            assert_eq!(jwk(&pair).common.key_id.as_deref(), Some("a"));
            let signature = Signer::read(algorithm, &pair.private).expect("a key").sign(b"sam").expect("signed");
            let signature = URL_SAFE_NO_PAD.encode(signature);
            let verify = |pair: &Pair| {
                let key = DecodingKey::from_jwk(&jwk(pair)).expect("a key");
                crypto::verify(&signature, b"sam", &key, in_jwts(algorithm)).expect("looked at")
            };
            assert_eq!((verify(&pair), verify(&other)), (true, false), "{algorithm:?}");
            let public = pair.public.as_object().expect("an object");
            assert!(["d", "p", "q", "k"].iter().all(|secret| !public.contains_key(*secret)), "{public:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        for text in ["", "AA", "MAA", "MIIF", "MAMCAQA", "not base64"] {
            assert!(Signer::read(SigningAlgorithm::Rs256, text).is_none(), "{text}");
        }
    }
}
