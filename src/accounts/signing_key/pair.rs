//! Key pairs: made, as a JWK for those who check, and as a key for who signs.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
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

/// Returns the key that signs, from its PKCS#8 in base64url, or `None` if it is none.
pub(super) fn signer(algorithm: SigningAlgorithm, private: &str) -> Option<EncodingKey> {
    let der = Zeroizing::new(URL_SAFE_NO_PAD.decode(private).ok()?);
    Some(match algorithm {
        SigningAlgorithm::Rs256 => EncodingKey::from_rsa_der(pkcs1(&der)?),
        SigningAlgorithm::Es256 => EncodingKey::from_ec_der(&der),
        SigningAlgorithm::EdDsa => EncodingKey::from_ed_der(&der),
    })
}

/// Returns the algorithm by its name in JWTs.
pub(super) fn in_jwts(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::Rs256 => Algorithm::RS256,
        SigningAlgorithm::Es256 => Algorithm::ES256,
        SigningAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

/// Returns the RSA key in a PKCS#8 (RFC 5208, 5): a sequence of a version, an algorithm and the key. jsonwebtoken reads the
/// key alone.
fn pkcs1(pkcs8: &[u8]) -> Option<&[u8]> {
    let (SEQUENCE, content, _) = element(pkcs8)? else { return None };
    let (INTEGER, _, content) = element(content)? else { return None };
    let (SEQUENCE, _, content) = element(content)? else { return None };
    let (OCTET_STRING, key, _) = element(content)? else { return None };
    Some(key)
}

const INTEGER: u8 = 2;
const OCTET_STRING: u8 = 4;
const SEQUENCE: u8 = 0x30;

/// Returns the tag and the content of the first element of a DER text, and what comes after it (X.690, 8.1).
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    Some((tag, rest.get(..length)?, rest.get(length..)?))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{DecodingKey, Header, Validation, decode, encode};
    use sea_orm::Iterable;

    use super::*;

    #[test]
    fn what_one_half_signs_the_other_half_verifies() {
        for algorithm in SigningAlgorithm::iter() {
            let (pair, other) = (make(algorithm, "a").expect("made"), make(algorithm, "b").expect("made"));
            let jwk = |pair: &Pair| serde_json::from_value::<Jwk>(pair.public.clone()).expect("a JWK");
            assert_eq!(jwk(&pair).common.key_id.as_deref(), Some("a"));
            let (claims, key) = (json!({ "sub": "sam" }), signer(algorithm, &pair.private).expect("a key"));
            let token = encode(&Header::new(in_jwts(algorithm)), &claims, &key).expect("signed");
            let mut rules = Validation::new(in_jwts(algorithm));
            rules.set_required_spec_claims::<&str>(&[]);
            rules.validate_exp = false;
            let verify = |pair: &Pair| {
                let key = DecodingKey::from_jwk(&jwk(pair)).expect("a key");
                decode::<Value>(&token, &key, &rules).map(|token| token.claims).ok()
            };
            assert_eq!((verify(&pair), verify(&other)), (Some(claims), None), "{algorithm:?}");
            let public = pair.public.as_object().expect("an object");
            assert!(["d", "p", "q", "k"].iter().all(|secret| !public.contains_key(*secret)), "{public:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        for text in ["", "AA", "MAA", "MIIF", "MAMCAQA", "not base64"] {
            assert!(signer(SigningAlgorithm::Rs256, text).is_none(), "{text}");
        }
    }
}
