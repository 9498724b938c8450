//! `sessions`: who is logged in where. The row is the truth; a cookie or token without its row opens nothing.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{LockType, Query};
use sea_orm::{Iterable, QueryOrder, Set};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::user::{self, User};
use super::{Client, Fault, Result};
use crate::chance;
use crate::db::delete_in_batches;

/// A browser or a program that is logged in.
pub type Session = Model;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sessions")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub user_id: Uuid,
    pub created_at: OffsetDateTime,
    pub authenticated_at: OffsetDateTime,
    pub last_seen_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub remember: bool,
    pub ip: String,
    pub user_agent: String,
    pub kind: Kind,
}

/// What is logged in. The other's token does not open it, even if it could be forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::None)", rename_all = "snake_case")]
pub enum Kind {
    /// A browser, by its cookie.
    Browser,
    /// A program, by its bearer token.
    Api,
}

/// How long a new session lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// A browser's, until it is closed; see [`IDLE`] and [`ABSOLUTE`].
    UntilClosed,
    /// A browser's with “keep me logged in”.
    Remembered,
    /// A program's, for this long, used or not.
    Token(Duration),
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {
    #[sea_orm(belongs_to = "user::Entity", from = "Column::UserId", to = "user::Column::Id")]
    User,
}

impl Related<user::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::User.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

/// A session that is not used for this long ends.
pub const IDLE: Duration = Duration::hours(2);
/// A session ends this long after its log-in, however much it is used.
pub const ABSOLUTE: Duration = Duration::hours(24);
/// [`IDLE`] for “keep me logged in”.
pub const REMEMBERED_IDLE: Duration = Duration::days(14);
/// [`ABSOLUTE`] for “keep me logged in”.
pub const REMEMBERED_ABSOLUTE: Duration = Duration::days(90);
/// `last_seen_at` is written at most once in this time, so that reading a page is not a write.
const SEEN_EVERY: Duration = Duration::minutes(5);
/// What is kept of the browser's own description, in characters.
const USER_AGENT_MAX: usize = 256;

/// Starts a session, if the user's password is still the one in `user`. Every log-in gets a row of its own, so
/// nobody can plant a session id on anybody (session fixation).
///
/// Between a password's check and its use lie 20 ms of hashing. A reset may end in them, and what was checked
/// before it must not open anything after it: hence one statement that looks and writes, with the user's row
/// locked where rows can be.
pub(super) async fn start(
    conn: &impl ConnectionTrait,
    user: &User,
    lasting: Lasting,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Option<Session>> {
    let remember = lasting == Lasting::Remembered;
    let (kind, expires_at) = match lasting {
        Lasting::Token(lifetime) => (Kind::Api, now + lifetime),
        Lasting::UntilClosed | Lasting::Remembered => (Kind::Browser, deadline(now, remember, now)),
    };
    let session = Session {
        id: chance::id(),
        user_id: user.id,
        created_at: now,
        authenticated_at: now,
        last_seen_at: now,
        expires_at,
        remember,
        kind,
        ip: client.ip.clone(),
        user_agent: shortened(&client.user_agent),
    };
    let values = Column::iter().map(|column| Expr::val(session.get(column)));
    let same_user = Query::select()
        .exprs(values)
        .from(user::Entity)
        .and_where(user::Column::Id.eq(user.id))
        .and_where(user::Column::HashedPassword.eq(user.hashed_password.clone()))
        .lock(LockType::NoKeyUpdate)
        .take();
    let fault = |why: sea_orm::sea_query::error::Error| Fault::Internal(why.to_string());
    let mut insert = Query::insert();
    insert.into_table(Entity).columns(Column::iter()).select_from(same_user).map_err(fault)?;
    Ok((conn.execute(&insert).await?.rows_affected() == 1).then_some(session))
}

/// A browser's own description, no longer than we keep it.
pub(super) fn shortened(user_agent: &str) -> String {
    user_agent.chars().take(USER_AGENT_MAX).collect()
}

fn deadline(created_at: OffsetDateTime, remember: bool, now: OffsetDateTime) -> OffsetDateTime {
    let (idle, absolute) = if remember { (REMEMBERED_IDLE, REMEMBERED_ABSOLUTE) } else { (IDLE, ABSOLUTE) };
    (now + idle).min(created_at + absolute)
}

/// The session of this kind, if it has not ended, and its user: one joined query.
///
/// # Errors
/// When the database is out of reach.
pub async fn find(
    conn: &impl ConnectionTrait,
    kind: Kind,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<Option<(Session, User)>> {
    let that = Entity::find_by_id(id).filter(Column::Kind.eq(kind)).filter(Column::ExpiresAt.gt(now));
    let found = that.find_also_related(user::Entity).one(conn).await?;
    Ok(found.and_then(|(session, user)| Some((session, user?))))
}

/// Notes that the session was used, from where, and moves its deadline, at most once in five minutes. Returns the
/// renewed session when it did, which is when the cookie is to be renewed as well.
///
/// # Errors
/// When the database is out of reach.
pub async fn touch(
    conn: &impl ConnectionTrait,
    session: &Session,
    ip: impl FnOnce() -> String,
    now: OffsetDateTime,
) -> Result<Option<Session>> {
    if now - session.last_seen_at < SEEN_EVERY {
        return Ok(None);
    }
    let expires_at = match session.kind {
        Kind::Browser => deadline(session.created_at, session.remember, now),
        Kind::Api => session.expires_at,
    };
    // An update of many, because the row may be gone by now, and that is no fault.
    let renewed = Session { last_seen_at: now, expires_at, ip: ip(), ..session.clone() };
    let row = ActiveModel {
        last_seen_at: Set(now),
        expires_at: Set(expires_at),
        ip: Set(renewed.ip.clone()),
        ..Default::default()
    };
    let done = Entity::update_many().set(row).filter(Column::Id.eq(session.id)).exec(conn).await?;
    Ok((done.rows_affected == 1).then_some(renewed))
}

/// The sessions of the user that have not ended, the one used last first.
pub(super) async fn all(conn: &impl ConnectionTrait, user: Uuid, now: OffsetDateTime) -> Result<Vec<Session>> {
    let those = Entity::find().filter(Column::UserId.eq(user)).filter(Column::ExpiresAt.gt(now));
    Ok(those.order_by_desc(Column::LastSeenAt).order_by_desc(Column::Id).all(conn).await?)
}

/// Ends one session of the user; true if it was there.
pub(super) async fn end_one(conn: &impl ConnectionTrait, user: Uuid, id: Uuid) -> Result<bool> {
    let that = Entity::delete_many().filter(Column::UserId.eq(user)).filter(Column::Id.eq(id));
    Ok(that.exec(conn).await?.rows_affected > 0)
}

/// Ends a session of the user and all that began after it, as their ids say; true if there were any.
pub(super) async fn end_since(conn: &impl ConnectionTrait, user: Uuid, id: Uuid) -> Result<bool> {
    let those = Entity::delete_many().filter(Column::UserId.eq(user)).filter(Column::Id.gte(id));
    Ok(those.exec(conn).await?.rows_affected > 0)
}

/// Ends a session.
///
/// # Errors
/// When the database is out of reach.
pub async fn end(conn: &impl ConnectionTrait, id: Uuid) -> Result<()> {
    Entity::delete_by_id(id).exec(conn).await?;
    Ok(())
}

/// Ends every session of the user but the one to keep.
pub(super) async fn end_all(conn: &impl ConnectionTrait, user: Uuid, keep: Option<Uuid>) -> Result<()> {
    let mut those = Entity::delete_many().filter(Column::UserId.eq(user));
    if let Some(keep) = keep {
        those = those.filter(Column::Id.ne(keep));
    }
    those.exec(conn).await?;
    Ok(())
}

/// How many sessions of the user have not ended.
///
/// # Errors
/// When the database is out of reach.
pub async fn count(conn: &impl ConnectionTrait, user: Uuid, now: OffsetDateTime) -> Result<u64> {
    Ok(Entity::find().filter(Column::UserId.eq(user)).filter(Column::ExpiresAt.gt(now)).count(conn).await?)
}

/// Deletes what has expired; returns how many.
///
/// # Errors
/// When the database is out of reach.
pub async fn sweep(conn: &impl ConnectionTrait, now: OffsetDateTime) -> Result<u64> {
    Ok(delete_in_batches::<Entity>(conn, Column::ExpiresAt.lte(now)).await?)
}
