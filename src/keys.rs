//! The secret, the keys derived from it, and the JWTs that point at sessions: the cookie's and the API token.
//!
//! One secret, one sub-key a purpose (HKDF-SHA256, RFC 5869): a key that leaks from one use says nothing
//! about another. JWT rules follow RFC 8725: the algorithm is ours and never read from the token, `typ`,
//! `iss`, `aud`, `exp`, `iat`, `sub` and `sid` are all required.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::chance;

/// The shortest secret that is taken, in characters: 32 random bytes are 43 in base64.
pub const SECRET_MIN: usize = 32;
/// How far the clocks of machines that share a secret may differ.
const SKEW: Duration = Duration::minutes(1);

/// The operator's secret, or several, newest first: the first signs, all of them verify.
#[derive(Clone)]
pub struct Secret(Vec<Zeroizing<String>>);

impl Secret {
    /// Reads the file, or makes it (mode 0600) with a fresh secret when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no secret.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        if !path.exists() {
            // Written beside and then linked: a start that dies half-way leaves no empty secret, and of two
            // starts at once one makes the secret and both read it.
            let beside = path.with_extension(format!("{}.tmp", std::process::id()));
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            let fresh = Zeroizing::new(format!("{}\n", URL_SAFE_NO_PAD.encode(chance::bytes::<32>())));
            file.write_all(fresh.as_bytes())?;
            file.sync_all()?;
            let linked = fs::hard_link(&beside, path);
            fs::remove_file(&beside)?;
            match linked {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Self::load(path)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or holds no secret.
    pub fn load(path: &Path) -> io::Result<Self> {
        let text = Zeroizing::new(fs::read_to_string(path)?);
        text.parse().map_err(|why: &str| io::Error::new(io::ErrorKind::InvalidData, why))
    }
}

impl FromStr for Secret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all: Vec<_> = text
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|one| !one.is_empty())
            .map(|one| Zeroizing::new(one.to_owned()))
            .collect();
        match all.iter().map(|one| one.chars().count()).min() {
            None => Err("holds no secret; try: openssl rand -base64 32"),
            Some(n) if n < SECRET_MIN => Err("holds a secret under 32 characters; try: openssl rand -base64 32"),
            Some(_) => Ok(Self(all)),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a token says: who (`sub`) and which session row (`sid`). Times in Unix seconds. With any other claim it is not
/// one of ours: an `nbf` that nobody looks at would be a promise broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    aud: String,
    sub: Uuid,
    sid: Uuid,
    iat: i64,
    exp: i64,
}

/// A token that verified. It proves nothing yet: the session's row is the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointer {
    /// The user.
    pub user: Uuid,
    /// The session.
    pub session: Uuid,
}

struct Key {
    id: String,
    sign: EncodingKey,
    verify: DecodingKey,
}

/// What a token is for. One made for one use has another key, `typ` and `aud` than one made for the other, so that
/// neither is ever taken for it (RFC 8725, 3.11 and 3.12).
#[derive(Clone, Copy, Debug)]
pub struct Use {
    typ: &'static str,
    audience: &'static str,
    label: &'static str,
}

impl Use {
    /// The cookie of a browser.
    pub const SESSION_COOKIE: Self = Self { typ: "session+jwt", audience: "web", label: "session-cookie" };
    /// The bearer token of a program (RFC 9068 has the `typ`).
    pub const API_TOKEN: Self = Self { typ: "at+jwt", audience: "api", label: "api-token" };
}

/// Signs and verifies tokens for one use.
pub struct Keys {
    /// Newest first, never empty.
    keys: Vec<Key>,
    purpose: Use,
    issuer: String,
}

impl Keys {
    /// Keys for the site whose public address is `issuer`.
    pub fn new(secret: &Secret, purpose: Use, issuer: &str) -> Self {
        let keys = secret.0.iter().map(|secret| {
            let root = Hkdf::<Sha256>::new(None, secret.as_bytes());
            let label = |what: &str| format!("latchkey {} {what} v1", purpose.label);
            let id = URL_SAFE_NO_PAD.encode(derive::<6>(&root, label("kid").as_bytes()).as_slice());
            let key = derive::<32>(&root, label("HS256").as_bytes());
            Key { id, sign: EncodingKey::from_secret(key.as_slice()), verify: DecodingKey::from_secret(key.as_slice()) }
        });
        Self { keys: keys.collect(), purpose, issuer: issuer.to_owned() }
    }

    /// A token, good until `expires_at`.
    ///
    /// # Errors
    /// None that can be met with these keys and claims; the library's signature has them.
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
        };
        encode(&header, &claims, &key.sign)
    }

    /// Where the token points, if we signed it, for this use, and it has not expired at `now`.
    pub fn verify(&self, token: &str, now: OffsetDateTime) -> Option<Pointer> {
        // The header is the attacker's until the signature holds: `kid` only chooses among our own keys,
        // `typ` keeps a token made for another use out, and `alg` is not asked (RFC 8725, 3.1 and 3.11).
        let header = decode_header(token).ok()?;
        if header.typ.as_deref() != Some(self.purpose.typ) {
            return None;
        }
        let key = self.keys.iter().find(|key| header.kid.as_ref() == Some(&key.id))?;

        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&[self.purpose.audience]);
        rules.validate_exp = false; // by the clock that is handed in, below; `Claims` makes it a number
        let claims = decode::<Claims>(token, &key.verify, &rules).ok()?.claims;

        let fresh = claims.exp > now.unix_timestamp() && claims.iat <= (now + SKEW).unix_timestamp();
        fresh.then_some(Pointer { user: claims.sub, session: claims.sid })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

fn derive<const N: usize>(root: &Hkdf<Sha256>, label: &[u8]) -> Zeroizing<[u8; N]> {
    let mut key = Zeroizing::new([0; N]);
    root.expand(label, key.as_mut_slice()).expect("a short output");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "old-old-old-old-old-old-old-old-old-old-old";
    const NEW: &str = "new-new-new-new-new-new-new-new-new-new-new";

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

    #[test]
    fn a_short_secret_is_refused_and_none_is_printed() {
        assert!("short".parse::<Secret>().is_err());
        assert!("".parse::<Secret>().is_err());
        let secret: Secret = NEW.parse().expect("long enough");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
