//! tower-sessions over SeaORM: the table `visits`.
//!
//! This is our own store, because the published ones use an older version of tower-sessions-core, and one row per visitor
//! is all that is needed. A visit's id is a secret like a token, so the table holds its digest.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect, Set};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{self, Error};
use tracing::warn;

use crate::accounts::user::email::Email;
use crate::clock::Clock;
use crate::db::{Db, delete_in_batches};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "visits")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    #[sea_orm(column_type = "Text")]
    pub data: String,
    pub expires_at: OffsetDateTime,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A store that keeps visits in the database.
#[derive(Clone, Debug)]
pub struct VisitStore {
    db: Db,
    clock: Clock,
}

impl VisitStore {
    /// Returns a store over this database.
    pub fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock }
    }
}

fn digest(id: &Id) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(id.0.to_be_bytes()))
}

fn row(record: &Record) -> session_store::Result<ActiveModel> {
    let data = serde_json::to_string(&record.data).map_err(|why| Error::Encode(why.to_string()))?;
    let expires_at = record.expiry_date.replace_nanosecond(0).map_err(|why| Error::Encode(why.to_string()))?;
    Ok(ActiveModel { id: Set(digest(&record.id)), data: Set(data), expires_at: Set(expires_at) })
}

/// Logs a failure to write, and goes on. A visit is a convenience. Once a password is changed or an account created, a flash
/// that could not be left must not turn the answer into a failure: tower-sessions would answer 500, without the cookies.
fn go_on<T>(written: Result<T, DbErr>) -> session_store::Result<()> {
    if let Err(error) = written {
        warn!(%error, "a visit could not be written");
    }
    Ok(())
}

#[async_trait]
impl SessionStore for VisitStore {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        // 128 random bits do not come twice. If they did, this insert would fail, and two visitors would share nothing.
        go_on(row(record)?.insert(self.db.write()).await)
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        // This only updates. A row that another request has deleted, or has given another id, does not come back.
        let ActiveModel { id, data, expires_at } = row(record)?;
        let changes = ActiveModel { data, expires_at, ..Default::default() };
        let update = Entity::update_many().set(changes).filter(Column::Id.eq(id.unwrap()));
        go_on(update.exec(self.db.write()).await)
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        let alive = Entity::find_by_id(digest(id)).filter(Column::ExpiresAt.gt(self.clock.now()));
        let Some(row) = alive.one(self.db.read()).await.map_err(|why| Error::Backend(why.to_string()))? else {
            return Ok(None);
        };
        let data = serde_json::from_str(&row.data).map_err(|why| Error::Decode(why.to_string()))?;
        Ok(Some(Record { id: *id, data, expiry_date: row.expires_at }))
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        go_on(Entity::delete_by_id(digest(id)).exec(self.db.write()).await)
    }
}

/// Deletes the visits that hold this canonical address, however it was typed. Each of them waits for a letter to it.
pub async fn forget(db: &Db, canonical: &str) -> Result<(), DbErr> {
    let with_address = Entity::find().filter(Column::Data.contains("@")).all(db.read()).await?;
    let holds = |row: &Model| serde_json::from_str(&row.data).is_ok_and(|data: Value| mentions(&data, canonical));
    let ids: Vec<String> = with_address.into_iter().filter(holds).map(|row| row.id).collect();
    for ids in ids.chunks(500) {
        Entity::delete_many().filter(Column::Id.is_in(ids)).exec(db.write()).await?;
    }
    Ok(())
}

/// Deletes all visits.
pub async fn forget_all(conn: &impl ConnectionTrait) -> Result<(), DbErr> {
    Entity::delete_many().exec(conn).await?;
    Ok(())
}

fn mentions(data: &Value, canonical: &str) -> bool {
    match data {
        Value::String(text) => Email::parse(text).is_ok_and(|email| email.canonical() == canonical),
        Value::Array(all) => all.iter().any(|one| mentions(one, canonical)),
        Value::Object(all) => all.values().any(|one| mentions(one, canonical)),
        _ => false,
    }
}

/// The most visits that a sweep leaves. The ones that were written last stay. Each form of a stranger may begin a visit,
/// and without this limit a flood would fill the disk with them. A user loses little: a visit holds the message for the next
/// page, or a form to go on with, and it is written again when it is needed.
const MOST: u64 = 100_000;

/// Deletes the visits that have expired, and the oldest of those that are too many. Returns how many were deleted.
pub async fn sweep(db: &Db, now: OffsetDateTime) -> Result<u64, DbErr> {
    let mut last = now;
    let newest = Entity::find().select_only().column(Column::ExpiresAt).order_by_desc(Column::ExpiresAt);
    if let Some(expires_at) = newest.offset(MOST).into_tuple::<OffsetDateTime>().one(db.read()).await? {
        last = last.max(expires_at);
    }
    delete_in_batches::<Entity>(db.write(), Column::ExpiresAt.lte(last)).await
}
