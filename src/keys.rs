//! The keys derived from the secret, and the JWTs that point at sessions: the session cookie, the forward cookie and the API
//! token.
//!
//! Each purpose has a key of its own, derived from the secret (HKDF-SHA256, RFC 5869), so a key that leaks from one use says
//! nothing about another. The rules for JWTs follow RFC 8725: the algorithm is ours and never read from the token, and
//! `typ`, `iss`, `aud`, `exp`, `iat`, `sub` and `sid` are all required.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use quick_cache::sync::Cache;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::Sha256;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::chance;
use crate::secret::Secret;

/// The largest difference between the clocks of machines that share a secret.
const SKEW: Duration = Duration::minutes(1);

/// The header of a token. A token with any other parameter is not ours: a parameter that `crit` lists would have to be
/// understood (RFC 7515, 4.1.11), and no token may bring a key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenHeader {
    typ: String,
    kid: String,
    #[serde(rename = "alg")]
    _alg: IgnoredAny,
}

impl TokenHeader {
    fn of(token: &str) -> Option<Self> {
        let (head, _) = token.split_once('.')?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).ok()?).ok()
    }
}

/// The claims of a token: the user (`sub`), the session's row (`sid`), and times in Unix seconds. A token with any other
/// claim is not ours: an `nbf` that is not checked would be a broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    aud: String,
    sub: Uuid,
    sid: Uuid,
    iat: i64,
    exp: i64,
    /// In API tokens only: the client that asked (RFC 9068, 2.2).
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// In API tokens only: the token's own id (RFC 9068, 2.2).
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    jti: Option<Uuid>,
}

/// Reads a claim that may be left out, and is never null.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// The content of a verified token. It proves nothing yet: the session may have ended, which only its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointer {
    /// The user.
    pub user: Uuid,
    /// The session.
    pub session: Uuid,
}

impl Pointer {
    /// What a token points at that only shows that its sender has the secret.
    pub const NOTHING: Self = Self { user: Uuid::nil(), session: Uuid::nil() };
}

struct Key {
    id: String,
    sign: EncodingKey,
    verify: DecodingKey,
}

/// The use of a token. Tokens for different uses have different keys, `typ` and `aud`, so that one is never taken for the
/// other (RFC 8725, 3.11 and 3.12).
#[derive(Clone, Copy, Debug)]
pub struct Use {
    typ: &'static str,
    audience: &'static str,
    label: &'static str,
    client_id: Option<&'static str>,
}

impl Use {
    /// The session cookie of a browser.
    pub const SESSION_COOKIE: Self =
        Self { typ: "session+jwt", audience: "web", label: "session-cookie", client_id: None };
    /// The cookie of a browser for all hosts of the domain that apps share with the site. It opens what a proxy may ask, and
    /// nothing else.
    pub const FORWARD_COOKIE: Self =
        Self { typ: "forward+jwt", audience: "forward", label: "forward-cookie", client_id: None };
    /// The token by which `latchkey doctor` shows a running server that it has the same secret. It points at no session.
    pub const DOCTOR: Self = Self { typ: "doctor+jwt", audience: "doctor", label: "doctor", client_id: None };
    /// The bearer token of a program, which is an access token of RFC 9068. Programs are not registered, so all of them share
    /// one `client_id`.
    pub const API_TOKEN: Self =
        Self { typ: "at+jwt", audience: "api", label: "api-token", client_id: Some("latchkey") };
}

/// Signs and verifies tokens for one use.
pub struct Keys {
    /// Newest first, never empty.
    keys: Vec<Key>,
    purpose: Use,
    issuer: String,
    rules: Validation,
    /// Tokens that were verified before. A client sends the same one with each request.
    verified: Cache<String, Signed>,
}

/// What a token of ours says.
#[derive(Clone, Copy)]
struct Signed {
    pointer: Pointer,
    iat: i64,
    exp: i64,
}

/// How many tokens are kept, about half a KiB each.
const KEPT: usize = 10_000;

impl Keys {
    /// Returns the keys for the site whose public address is `issuer`.
    pub fn new(secret: &Secret, purpose: Use, issuer: &str) -> Self {
        let keys = secret.iter().map(|secret| {
            let root = Hkdf::<Sha256>::new(None, secret);
            let label = |what: &str| format!("latchkey {} {what} v1", purpose.label);
            let id = URL_SAFE_NO_PAD.encode(derive::<6>(&root, label("kid").as_bytes()).as_slice());
            let key = derive::<32>(&root, label("HS256").as_bytes());
            Key { id, sign: EncodingKey::from_secret(key.as_slice()), verify: DecodingKey::from_secret(key.as_slice()) }
        });
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.set_issuer(&[issuer]);
        rules.set_audience(&[purpose.audience]);
        rules.validate_exp = false; // `verify` checks it with the time of its caller; `Claims` makes it a number
        Self { keys: keys.collect(), purpose, issuer: issuer.to_owned(), rules, verified: Cache::new(KEPT) }
    }

    /// Returns the names of the keys in the tokens that they sign (`kid`), newest first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// Returns a new token, which is valid until `expires_at`.
    ///
    /// # Errors
    /// None that can happen with these keys and claims. The library's signature has them.
    pub fn mint(
        &self,
        pointer: Pointer,
        now: OffsetDateTime,
        expires_at: OffsetDateTime,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let key = &self.keys[0];
        let header =
            Header { typ: Some(self.purpose.typ.into()), kid: Some(key.id.clone()), ..Header::new(Algorithm::HS256) };
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.purpose.audience.into(),
            sub: pointer.user,
            sid: pointer.session,
            iat: now.unix_timestamp(),
            exp: expires_at.unix_timestamp(),
            client_id: self.purpose.client_id.map(str::to_owned),
            jti: self.purpose.client_id.map(|_| chance::id()),
        };
        encode(&header, &claims, &key.sign)
    }

    /// Returns what the token points at, if we signed it for this use and it has not expired at `now`.
    pub fn verify(&self, token: &str, now: OffsetDateTime) -> Option<Pointer> {
        let signed = match self.verified.get(token) {
            Some(signed) => signed,
            None => {
                let signed = self.read(token)?;
                self.verified.insert(token.to_owned(), signed); // never one that an attacker has made
                signed
            }
        };
        let fresh = signed.exp > now.unix_timestamp() && signed.iat <= (now + SKEW).unix_timestamp();
        fresh.then_some(signed.pointer)
    }

    /// Returns what the token says, if we signed it for this use.
    fn read(&self, token: &str) -> Option<Signed> {
        // An attacker may have written the header, until the signature is verified. `kid` only chooses among our own keys,
        // `typ` keeps out a token that was made for another use, and `alg` is not read (RFC 8725, 3.1 and 3.11).
        let head = TokenHeader::of(token)?;
        if head.typ != self.purpose.typ {
            return None;
        }
        let key = self.keys.iter().find(|key| head.kid == key.id)?;

        let claims = decode::<Claims>(token, &key.verify, &self.rules).ok()?.claims;

        // An API token without the two claims was made by an older release.
        let client_id = claims.jti.and(self.purpose.client_id);
        if claims.client_id.as_deref() != client_id || claims.jti.is_some() != client_id.is_some() {
            return None;
        }
        let pointer = Pointer { user: claims.sub, session: claims.sid };
        Some(Signed { pointer, iat: claims.iat, exp: claims.exp })
    }
}

/// Makes names for things that the database should not contain. The same thing always has the same name, and without the
/// secret an attacker cannot find the thing of a name.
#[derive(Clone)]
pub struct Fingerprint(Hkdf<Sha256>);

impl Fingerprint {
    /// Returns a maker of names with the newest secret.
    pub fn new(secret: &Secret) -> Self {
        Self(Hkdf::new(None, secret.iter().next().unwrap_or_default()))
    }

    /// Returns the name of a thing, which may have several parts.
    pub fn of(&self, parts: &[&str]) -> String {
        let label = format!("latchkey fingerprint v1 {}", parts.join("\0"));
        URL_SAFE_NO_PAD.encode(derive::<16>(&self.0, label.as_bytes()).as_slice())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

/// Derives a key, or a proof that only its holder makes, from a secret.
pub fn derive<const N: usize>(root: &Hkdf<Sha256>, label: &[u8]) -> Zeroizing<[u8; N]> {
    let mut key = Zeroizing::new([0; N]);
    root.expand(label, key.as_mut_slice()).expect("a short output");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "old-Zt4uQm9Xv2Lr7Kc1Wb6Nh3Fp8Gs5Jy0D";
    const NEW: &str = "new-Ra8eYk3Tq6Mw1Cz9Vd4Hn7Bj2Px5Lf0S";

    fn keys(secret: &str) -> Keys {
        Keys::new(&secret.parse().expect("long enough"), Use::SESSION_COOKIE, "http://localhost:3000")
    }

    fn pointer() -> Pointer {
        Pointer { user: chance::id(), session: chance::id() }
    }

    #[test]
    fn a_cookie_points_until_it_expires() {
        let (keys, pointer, now) = (keys(NEW), pointer(), OffsetDateTime::UNIX_EPOCH);
        let token = keys.mint(pointer, now, now + Duration::HOUR).expect("minted");
        assert_eq!(keys.verify(&token, now), Some(pointer));
        assert_eq!(keys.verify(&token, now + Duration::HOUR), None);
    }

    #[test]
    fn an_older_secret_still_verifies_and_the_newest_signs() {
        let (pointer, now) = (pointer(), OffsetDateTime::UNIX_EPOCH);
        let both = keys(&format!("{NEW},{OLD}"));
        let old = keys(OLD).mint(pointer, now, now + Duration::HOUR).expect("minted");
        assert_eq!(both.verify(&old, now), Some(pointer));
        let new = both.mint(pointer, now, now + Duration::HOUR).expect("minted");
        assert_eq!(keys(NEW).verify(&new, now), Some(pointer));
        assert_eq!(keys(OLD).verify(&new, now), None);
    }

    #[test]
    fn a_token_for_another_site_or_use_is_refused() {
        let (pointer, now) = (pointer(), OffsetDateTime::UNIX_EPOCH);
        let secret: Secret = NEW.parse().expect("long enough");
        let elsewhere =
            Keys::new(&secret, Use::SESSION_COOKIE, "https://other.example").mint(pointer, now, now + Duration::HOUR);
        assert_eq!(keys(NEW).verify(&elsewhere.expect("minted"), now), None);

        let token = Keys::new(&secret, Use::API_TOKEN, "http://localhost:3000");
        let token = token.mint(pointer, now, now + Duration::HOUR).expect("minted");
        assert_eq!(keys(NEW).verify(&token, now), None, "a bearer token is no cookie");

        let ours = keys(NEW);
        let claims = Claims {
            iss: ours.issuer.clone(),
            aud: "api".into(),
            sub: pointer.user,
            sid: pointer.session,
            iat: 0,
            exp: i64::MAX,
            client_id: None,
            jti: None,
        };
        let header =
            |typ: &str, alg| Header { typ: Some(typ.into()), kid: Some(ours.keys[0].id.clone()), ..Header::new(alg) };
        let sign = |header, claims: &Claims| encode(&header, claims, &ours.keys[0].sign).expect("signed");
        assert_eq!(ours.verify(&sign(header(Use::SESSION_COOKIE.typ, Algorithm::HS256), &claims), now), None, "aud");
        let claims = Claims { aud: Use::SESSION_COOKIE.audience.into(), ..claims };
        assert_eq!(ours.verify(&sign(header("JWT", Algorithm::HS256), &claims), now), None, "typ");
        assert_eq!(ours.verify(&sign(header(Use::SESSION_COOKIE.typ, Algorithm::HS384), &claims), now), None, "alg");
        assert_eq!(ours.verify(&sign(header(Use::SESSION_COOKIE.typ, Algorithm::HS256), &claims), now), Some(pointer));
    }
}
