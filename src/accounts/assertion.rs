//! `assertions`: an app shows who it is by a token that it has signed (`private_key_jwt`; RFC 7523, 3; OpenID Connect Core, 9).
//!
//! Latchkey has the public key only. So a copy of the database is worth nothing to a thief, and a request that was read on its way
//! works no second time.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto;
use jsonwebtoken::dangerous::insecure_decode_claims;
use sea_orm::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use crate::accounts::Result;
use crate::accounts::apps::Application;
use crate::clock::APART;
use crate::db::{Db, delete_in_batches};
use crate::urls;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "assertions")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub expires_at: OffsetDateTime,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// How far the clock of an app may be off.
const SKEW: Duration = Duration::minutes(1);
/// How long an app may make its assertions valid.
const LONGEST: Duration = Duration::hours(1);
/// The longest assertion, in bytes. Its header is parsed before anybody has signed it.
const SIZE_MAX: usize = 4096;

/// For whom an assertion may be: libraries name the issuer, the token endpoint, or the address that they ask (RFC 7523, 3;
/// RFC 9126, 2). These are the paths after the issuer. All are ours, and each assertion works once.
const AUDIENCES: [&str; 7] =
    ["", urls::OAUTH_TOKEN, urls::PUSHED, urls::REVOKE, urls::INTROSPECT, urls::REVOCATIONS, urls::TOKEN];

/// What an assertion says.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    /// The times may have fractions (RFC 7519, 2).
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    All(Vec<String>),
}

/// Returns which app says that it has signed this. It is a name to look up, and proves nothing.
pub fn named(assertion: &str) -> Option<Uuid> {
    #[derive(Deserialize)]
    struct Named {
        sub: Uuid,
    }
    insecure_decode_claims::<Named>(assertion).ok().map(|named| named.sub)
}

/// Looks whether this app has signed the assertion for this site, and lets it do so once. Returns why not, for the
/// developer of the app.
pub async fn accept(
    db: &Db,
    app: &Application,
    assertion: &str,
    issuer: &str,
    now: OffsetDateTime,
) -> Result<Result<(), &'static str>> {
    let Some(claims) = signed(app, assertion) else {
        return Ok(Err("no key of this app has signed client_assertion, or it lacks iss, sub, aud, exp or jti"));
    };
    if let Err(why) = claims.check(app, issuer, now) {
        return Ok(Err(why));
    }
    // Two apps may have the same jti. All nodes see the row.
    let id = URL_SAFE_NO_PAD.encode(Sha256::new().chain_update(app.id).chain_update(&claims.jti).finalize());
    // The row outlives what it is about: the sweeper may run on a node whose clock is ahead, and a write may have to wait.
    let left = Duration::seconds_f64((claims.exp - now.unix_timestamp() as f64).ceil());
    let row = ActiveModel { id: Set(id), expires_at: Set(now + left + SKEW * 2 + APART * 2) };
    let once = OnConflict::column(Column::Id).do_nothing().to_owned();
    let kept = Entity::insert(row).on_conflict(once).exec_without_returning(db.write()).await?;
    Ok(if kept == 1 { Ok(()) } else { Err("client_assertion was used before; each needs a jti of its own") })
}

/// Returns what an assertion says, if a key of this app has signed it.
fn signed(app: &Application, assertion: &str) -> Option<Claims> {
    if assertion.len() > SIZE_MAX {
        return None;
    }
    let header = jsonwebtoken::decode_header(assertion).ok()?;
    // Another kind of token that the app signs must not pass for this one (RFC 8725, 3.11).
    let typ = header.typ.as_deref().unwrap_or("JWT");
    if header.crit.is_some() || !["JWT", "client-authentication+jwt"].iter().any(|own| own.eq_ignore_ascii_case(typ)) {
        return None;
    }
    let (message, signature) = assertion.rsplit_once('.')?;
    let mut keys = app.key_set.iter().flat_map(|keys| keys.of(&header));
    keys.find(|key| crypto::verify(signature, message.as_bytes(), key, header.alg).unwrap_or(false))?;
    insecure_decode_claims(assertion).ok()
}

impl Claims {
    fn check(&self, app: &Application, issuer: &str, now: OffsetDateTime) -> Result<(), &'static str> {
        let (now, skew) = (now.unix_timestamp() as f64, SKEW.as_seconds_f64());
        let id = app.id.to_string();
        if self.iss != id || self.sub != id {
            return Err("iss and sub of client_assertion must be the client_id");
        }
        let named = match &self.aud {
            Audience::One(one) => std::slice::from_ref(one),
            Audience::All(all) => all.as_slice(),
        };
        // Whoever else is named could use the assertion here, as the app.
        let is_ours = |named: &String| named.strip_prefix(issuer).is_some_and(|path| AUDIENCES.contains(&path));
        if named.is_empty() || !named.iter().all(is_ours) {
            return Err("aud of client_assertion must be the issuer or the address of this endpoint, and nothing else");
        }
        if self.exp <= now - skew {
            return Err("client_assertion has expired");
        }
        if self.exp > now + LONGEST.as_seconds_f64() + skew {
            return Err("client_assertion must expire within an hour");
        }
        if [self.nbf, self.iat].into_iter().flatten().any(|from| from > now + skew) {
            return Err("client_assertion is not valid yet");
        }
        if self.jti.is_empty() {
            return Err("client_assertion needs a jti");
        }
        Ok(())
    }
}

/// Deletes what has expired. Returns how many.
pub async fn sweep(conn: &impl ConnectionTrait, now: OffsetDateTime) -> Result<u64> {
    Ok(delete_in_batches::<Entity>(conn, Column::ExpiresAt.lte(now)).await?)
}
