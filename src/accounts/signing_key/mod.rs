//! `signing_keys`: the key pairs with which tokens for apps are signed. All nodes share them.
//!
//! Of each algorithm there is a key that signs now, the one before it, and the one after it. Apps keep what they have fetched
//! of them for [`PUBLISHED_KEPT`]. So a key is published for longer than that before it signs, and until long after its last
//! token is dead. The private half is sealed: a thief of the database, or of a backup, cannot sign.

mod pair;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use sea_orm::entity::prelude::*;
use sea_orm::{DatabaseTransaction, Iterable, QueryOrder, Set};
use serde::Serialize;
use sha2::{Digest, Sha256, Sha512};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::accounts::{Fault, Result};
use crate::chance;
use crate::db::{Alone, Db};
use crate::seal::Seals;
use crate::secret::Secret;
use pair::Signer;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "signing_keys")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub algorithm: SigningAlgorithm,
    pub public_key: Json,
    pub sealed_key: String,
    pub created_at: OffsetDateTime,
    pub signs_from: OffsetDateTime,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// How the tokens of an app are signed (RFC 7518, 3.1; RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::None)")]
pub enum SigningAlgorithm {
    /// RSA with SHA-256, which every library knows.
    #[sea_orm(string_value = "RS256")]
    Rs256,
    /// ECDSA with P-256: short signatures.
    #[sea_orm(string_value = "ES256")]
    Es256,
    /// Ed25519: short signatures, made quickly.
    #[sea_orm(string_value = "EdDSA")]
    EdDsa,
}

/// Returns the names of all algorithms.
pub fn algorithms() -> Vec<String> {
    SigningAlgorithm::iter().map(|algorithm| algorithm.to_value()).collect()
}

/// How long an app may keep the published keys (`max-age`).
pub const PUBLISHED_KEPT: Duration = Duration::hours(1);
/// How long a key signs.
const SIGNS_FOR: Duration = Duration::days(90);
/// How long a node goes without a look at the table. A key that another node or a command has made is published before it
/// signs, so nothing depends on this but how soon `keys rotate` is heard of.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(60);
/// How long a node goes at least between two looks for keys that tokens name and that it does not know. Any stranger can make
/// names up.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// A key that signs now, or is known to apps.
pub struct SigningKey {
    id: String,
    algorithm: SigningAlgorithm,
    signs_from: OffsetDateTime,
    public: Json,
    /// `None` if it was sealed with a secret that this server does not have.
    sign: Option<Signer>,
    verify: Option<DecodingKey>,
}

impl SigningKey {
    /// Returns the left half of a digest, by the hash of the key's algorithm.
    pub fn half_digest(&self, text: &[u8]) -> Vec<u8> {
        let mut digest = match self.algorithm {
            SigningAlgorithm::Rs256 | SigningAlgorithm::Es256 => Sha256::digest(text).to_vec(),
            SigningAlgorithm::EdDsa => Sha512::digest(text).to_vec(),
        };
        digest.truncate(digest.len() / 2);
        digest
    }

    /// Signs a token (RFC 7515, 5.1).
    ///
    /// # Errors
    /// When the library fails.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String> {
        let header = Header {
            typ: Some(typ.to_owned()),
            kid: Some(self.id.clone()),
            ..Header::new(pair::in_jwts(self.algorithm))
        };
        let key = self.sign.as_ref().ok_or_else(|| Fault::Internal("a key without its private half".into()))?;
        let failed = |why| Fault::Internal(format!("signing a token: {why}"));
        let parts = [serde_json::to_vec(&header), serde_json::to_vec(claims)];
        let [header, claims] = parts.map(|part| part.map(|part| URL_SAFE_NO_PAD.encode(part)).map_err(failed));
        let said = format!("{}.{}", header?, claims?);
        let signature = URL_SAFE_NO_PAD.encode(key.sign(said.as_bytes())?);
        Ok(format!("{said}.{signature}"))
    }
}

/// The keys of all algorithms that are in use, in the order in which they sign.
#[derive(Clone, Default)]
struct Ring(Vec<Arc<SigningKey>>);

impl Ring {
    fn of(&self, algorithm: SigningAlgorithm) -> impl DoubleEndedIterator<Item = &Arc<SigningKey>> {
        self.0.iter().filter(move |key| key.algorithm == algorithm)
    }

    /// Returns the key that signs at this time.
    fn current(&self, algorithm: SigningAlgorithm, now: OffsetDateTime) -> Option<&Arc<SigningKey>> {
        self.of(algorithm).rev().find(|key| key.signs_from <= now && key.sign.is_some())
    }

    /// Returns the key with this name.
    fn named(&self, id: &str) -> Option<&Arc<SigningKey>> {
        self.0.iter().find(|key| key.id == id)
    }

    /// Returns the names of those that cannot sign.
    fn sealed(&self) -> Vec<String> {
        self.0.iter().filter(|key| key.sign.is_none()).map(|key| key.id.clone()).collect()
    }

    /// Returns whether there is a key that signs, and one that will.
    fn is_complete(&self, algorithm: SigningAlgorithm, now: OffsetDateTime) -> bool {
        let next = self.of(algorithm).any(|key| key.signs_from > now && key.sign.is_some());
        next && self.current(algorithm, now).is_some()
    }
}

/// Finds the keys, and makes them when they are needed.
pub struct SigningKeys {
    db: Db,
    /// Newest first. Keys are sealed with the first, and all open.
    seals: Vec<Seals>,
    ring: RwLock<Option<(Instant, Ring)>>,
    /// One look at a time. It has the time of the last look for an unknown key.
    looking: Mutex<Option<Instant>>,
}

impl SigningKeys {
    /// Returns the keys in this database, sealed with this secret.
    pub fn new(db: Db, secret: &Secret) -> Self {
        Self { db, seals: Seals::all(secret), ring: RwLock::default(), looking: Mutex::default() }
    }

    /// Returns the key that signs now.
    pub async fn signer(&self, algorithm: SigningAlgorithm, now: OffsetDateTime) -> Result<Arc<SigningKey>> {
        let ring = self.ring(algorithm, now).await?;
        ring.current(algorithm, now).cloned().ok_or_else(|| Fault::Internal("no key to sign with".into()))
    }

    /// Returns the public keys (RFC 7517, 5): of each algorithm that is in use the one that signs now, the one before it and
    /// those after it.
    pub async fn published(&self, in_use: &[SigningAlgorithm], now: OffsetDateTime) -> Result<Vec<Json>> {
        let mut ring = self.ring(SigningAlgorithm::Rs256, now).await?;
        // An app fetches the keys when it starts, long before its first user comes.
        for algorithm in in_use {
            ring = self.ring(*algorithm, now).await?;
        }
        Ok(ring.0.iter().map(|key| key.public.clone()).collect())
    }

    /// Returns the key with this name, by which one of our own tokens is verified. Another node may have made it a moment ago.
    pub async fn verifier(&self, id: &str, now: OffsetDateTime) -> Result<Option<(Algorithm, DecodingKey)>> {
        let ring = self.ring(SigningAlgorithm::Rs256, now).await?;
        let key = match ring.named(id) {
            Some(key) => Some(key.clone()),
            None => self.ring_with(id, now).await?.named(id).cloned(),
        };
        Ok(key.and_then(|key| Some((pair::in_jwts(key.algorithm), key.verify.clone()?))))
    }

    async fn ring(&self, algorithm: SigningAlgorithm, now: OffsetDateTime) -> Result<Ring> {
        if let Some(ring) = self.recent(algorithm, now) {
            return Ok(ring);
        }
        let _looking = self.looking.lock().await; // a thousand requests at once look once
        if let Some(ring) = self.recent(algorithm, now) {
            return Ok(ring);
        }
        self.look(algorithm, now).await
    }

    /// Returns the keys after a look for one that this node does not know. The look is left out if the last one was a moment ago.
    /// All that ask meanwhile wait for the same look: the first tokens of a new key come at once.
    async fn ring_with(&self, id: &str, now: OffsetDateTime) -> Result<Ring> {
        let mut looked = self.looking.lock().await;
        let recent = self.recent(SigningAlgorithm::Rs256, now);
        let is_soon = looked.is_some_and(|at| at.elapsed() < LOOK_AGAIN);
        if let Some(ring) = recent.filter(|ring| is_soon || ring.named(id).is_some()) {
            return Ok(ring);
        }
        let ring = self.look(SigningAlgorithm::Rs256, now).await?;
        *looked = Some(Instant::now());
        Ok(ring)
    }

    /// Returns the keys as they were in the last minute, if they have all that this algorithm needs.
    fn recent(&self, algorithm: SigningAlgorithm, now: OffsetDateTime) -> Option<Ring> {
        let last = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let recent = last.as_ref().filter(|(at, _)| at.elapsed() < LOOK_EVERY);
        recent.map(|(_, ring)| ring).filter(|ring| ring.is_complete(algorithm, now)).cloned()
    }

    async fn look(&self, algorithm: SigningAlgorithm, now: OffsetDateTime) -> Result<Ring> {
        let mut ring = self.read(self.db.read()).await?;
        if !ring.is_complete(algorithm, now) {
            ring = self.make(algorithm, now).await?;
        }
        let before = self.ring.write().unwrap_or_else(PoisonError::into_inner).replace((Instant::now(), ring.clone()));
        let before = before.map(|(_, before)| before.sealed()).unwrap_or_default();
        // Each key once, and not at each look.
        if let Some(kid) = ring.sealed().into_iter().find(|kid| !before.contains(kid)) {
            warn!(
                kid,
                "a key that signs the tokens of apps was sealed with a secret that this server does not have, so others sign, and apps \
                 may refuse their tokens for an hour. If the secret was taken away too soon, put it back after the newest one, restart, \
                 and run latchkey keys drop before you take it away"
            );
        }
        Ok(ring)
    }

    async fn read(&self, conn: &impl ConnectionTrait) -> Result<Ring> {
        let rows = Entity::find().order_by_asc(Column::SignsFrom).order_by_asc(Column::Id).all(conn).await?;
        Ok(Ring(rows.into_iter().map(|row| Arc::new(self.open(row))).collect()))
    }

    fn open(&self, row: Model) -> SigningKey {
        let opened = unseal(&self.seals, &row);
        let jwk = serde_json::from_value(row.public_key.clone()).ok();
        SigningKey {
            sign: opened.and_then(|(_, private)| Signer::read(row.algorithm, &private)),
            verify: jwk.and_then(|jwk| DecodingKey::from_jwk(&jwk).ok()),
            id: row.id,
            algorithm: row.algorithm,
            signs_from: row.signs_from,
            public: row.public_key,
        }
    }

    /// Makes the keys that are missing, on one node at a time.
    async fn make(&self, algorithm: SigningAlgorithm, now: OffsetDateTime) -> Result<Ring> {
        let tx = self.db.begin_alone(Alone::MakingKeys).await?;
        let ring = self.read(&tx).await?; // another node may have made them
        // The first key signs at once: no app has fetched any yet. Each later one is published long before.
        let current = match ring.current(algorithm, now) {
            Some(key) => key.signs_from,
            None => self.insert(&tx, algorithm, (now, now)).await?,
        };
        if !ring.of(algorithm).any(|key| key.signs_from > now && key.sign.is_some()) {
            let next = (current + SIGNS_FOR).max(now + PUBLISHED_KEPT);
            self.insert(&tx, algorithm, (now, next)).await?;
        }
        self.forget_old(&tx, &ring, algorithm, now).await?;
        let ring = self.read(&tx).await?;
        tx.commit().await?;
        Ok(ring)
    }

    async fn insert(
        &self,
        tx: &DatabaseTransaction,
        algorithm: SigningAlgorithm,
        (now, signs_from): (OffsetDateTime, OffsetDateTime),
    ) -> Result<OffsetDateTime> {
        let id = URL_SAFE_NO_PAD.encode(chance::bytes::<12>());
        let name = id.clone();
        let pair = tokio::task::spawn_blocking(move || pair::make(algorithm, &name)).await;
        let pair = pair.map_err(|why| Fault::Internal(format!("making a key pair: {why}")))??;
        let sealed = seal(&self.seals, &id, &pair.private)?;
        info!(kid = id, algorithm = ?algorithm, %signs_from, "a signing key was made");
        let row = ActiveModel {
            id: Set(id),
            algorithm: Set(algorithm),
            public_key: Set(pair.public),
            sealed_key: Set(sealed),
            created_at: Set(now),
            signs_from: Set(signs_from),
        };
        Entity::insert(row).exec_without_returning(tx).await?;
        Ok(signs_from)
    }

    /// Deletes the keys before the one that signed before the current one. Their tokens have been dead for months.
    async fn forget_old(
        &self,
        tx: &DatabaseTransaction,
        ring: &Ring,
        algorithm: SigningAlgorithm,
        now: OffsetDateTime,
    ) -> Result<()> {
        let past: Vec<_> = ring.of(algorithm).filter(|key| key.signs_from <= now).collect();
        let old = past[..past.len().saturating_sub(2)].iter().map(|key| key.id.as_str());
        Entity::delete_many().filter(Column::Id.is_in(old)).exec(tx).await?;
        Ok(())
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeys(…)")
    }
}

/// Returns what the seal of a key is known by.
fn digest(id: &str) -> [u8; 32] {
    Sha256::digest(format!("signing key {id}")).into()
}

/// Lets the next key of each algorithm take over now, or as soon as all apps can know it. Returns from when on each signs.
pub(in crate::accounts) async fn rotate(
    tx: &DatabaseTransaction,
    now: OffsetDateTime,
) -> Result<Vec<(SigningAlgorithm, OffsetDateTime)>> {
    let mut rotated = vec![];
    for algorithm in SigningAlgorithm::iter() {
        let waiting = Entity::find().filter(Column::Algorithm.eq(algorithm)).filter(Column::SignsFrom.gt(now));
        let Some(next) = waiting.order_by_asc(Column::SignsFrom).one(tx).await? else { continue };
        let signs_from = now.max(next.created_at + PUBLISHED_KEPT).min(next.signs_from);
        let row = ActiveModel { signs_from: Set(signs_from), ..Default::default() };
        Entity::update_many().set(row).filter(Column::Id.eq(next.id)).exec(tx).await?;
        rotated.push((algorithm, signs_from));
    }
    Ok(rotated)
}

/// Deletes all keys. After a leak of the secret, a thief who also has a copy of the database has them all.
pub async fn forget_all(db: &Db) -> Result<()> {
    Entity::delete_many().exec(db.write()).await?;
    Ok(())
}

/// By which secrets the keys are sealed, for the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// How many keys there are.
    pub all: usize,
    /// How many of them are sealed with a secret that is not the newest.
    pub older: usize,
    /// How many of them none of the secrets opens.
    pub lost: usize,
}

/// Returns how many keys these secrets open.
pub async fn sealed(conn: &impl ConnectionTrait, secret: &Secret) -> Result<Sealed> {
    let (seals, mut found) = (Seals::all(secret), Sealed::default());
    for row in Entity::find().all(conn).await? {
        found.all += 1;
        match unseal(&seals, &row) {
            None => found.lost += 1,
            Some((at, _)) if at > 0 => found.older += 1,
            Some(_) => {}
        }
    }
    Ok(found)
}

/// Returns the private half of a key, and the place of the secret with which it is sealed.
fn unseal(seals: &[Seals], row: &Model) -> Option<(usize, Zeroizing<String>)> {
    let sealed = URL_SAFE_NO_PAD.decode(&row.sealed_key).unwrap_or_default();
    let of_each = seals.iter().map(|seals| seals.of(&digest(&row.id)));
    of_each.enumerate().find_map(|(at, seal)| Some((at, Zeroizing::new(seal.open(&sealed)?))))
}

/// Seals the keys with the newest secret, before the older ones are dropped.
pub async fn reseal(db: &Db, secret: &Secret) -> Result<()> {
    let seals = Seals::all(secret);
    let tx = db.begin_alone(Alone::MakingKeys).await?;
    for row in Entity::find().all(&tx).await? {
        let Some((at, private)) = unseal(&seals, &row) else { continue };
        if at > 0 {
            let row = ActiveModel {
                id: Set(row.id.clone()),
                sealed_key: Set(seal(&seals, &row.id, &private)?),
                ..Default::default()
            };
            Entity::update(row).exec(&tx).await?;
        }
    }
    Ok(tx.commit().await?)
}

/// Seals a private key with the newest secret.
fn seal(seals: &[Seals], id: &str, private: &str) -> Result<String> {
    let sealed = seals.first().and_then(|seals| seals.of(&digest(id)).close(private));
    let sealed = sealed.ok_or_else(|| Fault::Internal("a key pair could not be sealed".into()))?;
    Ok(URL_SAFE_NO_PAD.encode(sealed))
}
