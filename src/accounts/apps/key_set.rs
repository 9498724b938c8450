//! The public keys of an app (RFC 7517), with which it signs who it is.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use sea_orm::FromJsonQueryResult;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How many keys an app may have: one for each of its servers, and the next ones. Each may have to be tried.
const MOST: usize = 10;
/// The sizes of RSA keys, in bytes: 2048 bits (RFC 7518, 3.3) to 4096. Larger ones take long.
const RSA: std::ops::RangeInclusive<usize> = 256..=512;
/// The longest name of a key.
const NAME_MAX: usize = 100;
/// The names of the algorithms with which an app may sign.
pub const KEY_ALGORITHMS: [&str; 4] = ["RS256", "PS256", "ES256", "EdDSA"];
/// What only private and shared keys have (RFC 7518, 6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The public keys of an app, as JSON in one column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
pub struct KeySet(JwkSet);

impl KeySet {
    /// Returns the names of the keys. One without a name has none.
    pub fn names(&self) -> Vec<Option<&str>> {
        self.0.keys.iter().map(|key| key.common.key_id.as_deref()).collect()
    }

    /// Returns the keys that may have signed a token with this header. The algorithm is one of the key's, so that no token is
    /// checked with a public key as if it were a password (RFC 8725, 3.1).
    pub(in crate::accounts) fn of(&self, header: &Header) -> impl Iterator<Item = DecodingKey> {
        let fits = |key: &&Jwk| {
            let named = match (&key.common.key_id, &header.kid) {
                (Some(own), Some(named)) => own == named,
                _ => true,
            };
            named && algorithms(key).contains(&header.alg)
        };
        self.0.keys.iter().filter(fits).filter_map(|key| DecodingKey::from_jwk(key).ok())
    }
}

impl FromStr for KeySet {
    type Err = String;

    /// Reads a key set, or one key.
    fn from_str(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|why| format!("is no JSON: {why}"))?;
        let keys = match value.get("keys") {
            Some(Value::Array(keys)) => keys.clone(),
            Some(_) => return Err("has no list in `keys`".to_owned()),
            None => vec![value],
        };
        if !(1..=MOST).contains(&keys.len()) {
            return Err(format!("must have 1 to {MOST} keys, and has {}", keys.len()));
        }
        let keys = keys.iter().enumerate().map(|(at, key)| public(key).map_err(|why| format!("key {}: {why}", at + 1)));
        Ok(Self(JwkSet { keys: keys.collect::<Result<_, _>>()? }))
    }
}

/// Reads one public key.
fn public(key: &Value) -> Result<Jwk, String> {
    if PRIVATE.iter().any(|part| key.get(part).is_some()) {
        return Err("it is private; only the app may have it: write the public half into the file".to_owned());
    }
    let key: Jwk =
        serde_json::from_value(key.clone()).map_err(|why| format!("it is no public key (RFC 7517): {why}"))?;
    if key.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return Err("its `use` must be `sig`".to_owned());
    }
    // The name is shown to operators, on their terminals.
    if key.common.key_id.as_ref().is_some_and(|name| name.len() > NAME_MAX || name.chars().any(char::is_control)) {
        return Err(format!("its `kid` must be one line of {NAME_MAX} characters at most"));
    }
    if !is_sound(&key) {
        return Err("it must be RSA of 2048 to 4096 bits, P-256 or Ed25519".to_owned());
    }
    if algorithms(&key).is_empty() {
        return Err("its `alg` must be RS256, PS256, ES256 or EdDSA, and fit the key".to_owned());
    }
    Ok(key)
}

/// Returns whether the numbers of a key are as long as they must be. What else they must be, the library sees when it verifies.
fn is_sound(key: &Jwk) -> bool {
    let bytes = |number: &str| URL_SAFE_NO_PAD.decode(number).unwrap_or_default();
    // An odd number over 1, without zeros before it.
    let is_odd = |number: &[u8]| match number {
        [] | [0, ..] | [1] => false,
        [.., last] => last % 2 == 1,
    };
    match &key.algorithm {
        AlgorithmParameters::RSA(key) => {
            let (n, e) = (bytes(&key.n), bytes(&key.e));
            RSA.contains(&n.len()) && is_odd(&n) && e.len() <= 4 && is_odd(&e)
        }
        AlgorithmParameters::EllipticCurve(key) => {
            key.curve == EllipticCurve::P256 && bytes(&key.x).len() == 32 && bytes(&key.y).len() == 32
        }
        AlgorithmParameters::OctetKeyPair(key) => key.curve == EllipticCurve::Ed25519 && bytes(&key.x).len() == 32,
        _ => false,
    }
}

/// Returns the algorithms with which a key signs: the one that it names, or all that it can.
fn algorithms(key: &Jwk) -> Vec<Algorithm> {
    let all: &[Algorithm] = match &key.algorithm {
        AlgorithmParameters::RSA(_) => &[Algorithm::RS256, Algorithm::PS256],
        AlgorithmParameters::EllipticCurve(_) => &[Algorithm::ES256],
        AlgorithmParameters::OctetKeyPair(_) => &[Algorithm::EdDSA],
        _ => &[],
    };
    let named = key.common.key_algorithm.map(|named| named.to_string().parse::<Algorithm>().ok());
    all.iter().copied().filter(|one| named.is_none_or(|named| named == Some(*one))).collect()
}
