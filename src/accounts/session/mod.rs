//! `sessions`: who is logged in where. The row is the truth; a cookie or token without its row opens nothing.

pub mod device;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{LockType, Query};
use sea_orm::{Condition, Iterable, QueryOrder, Set};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::accounts::user::{self, User};
use crate::accounts::{Client, Fault, Result, keep_newest};
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
    /// A browser's, until it is closed.
    UntilClosed(Lifetime),
    /// A browser's with “keep me logged in”.
    Remembered(Lifetime),
    /// A program's, for this long, used or not.
    Token(Duration),
}

/// When a browser's session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// This long after it was used last.
    pub idle: Duration,
    /// This long after the log-in, however much it is used.
    pub absolute: Duration,
}

/// The lifetimes that the operator has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of sessions that end with the browser.
    pub until_closed: Lifetime,
    /// Of those with “keep me logged in”.
    pub remembered: Lifetime,
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

/// A session without “keep me logged in” that is not used for this long ends.
pub const IDLE: Duration = Duration::hours(2);
/// How many sessions of one kind one account has; the ones used last stay. Each kind by itself, so that a program that asks
/// for a token each time never logs a person out.
const MOST: u64 = 50;
/// `last_seen_at` is written at most once in this time, so that reading a page is not a write.
const SEEN_EVERY: Duration = Duration::minutes(5);
/// What is kept of the browser's own description, in characters.
const USER_AGENT_MAX: usize = 256;

/// Starts a session, if the user's password is still the one in `user` and the account is not disabled. Every log-in gets a row of its own, so
/// nobody can plant a session id on anybody (session fixation).
///
/// Between a password's check and its use lie 20 ms of hashing. A reset may end in them, and what was checked
/// before it must not open anything after it: hence one statement that looks and writes, with the user's row
/// locked where rows can be. The same holds for an account that is disabled meanwhile: all of its sessions were ended, and
/// none may begin after that.
pub(in crate::accounts) async fn start(
    conn: &impl ConnectionTrait,
    user: &User,
    lasting: Lasting,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Option<Session>> {
    let remember = matches!(lasting, Lasting::Remembered(_));
    let (kind, expires_at) = match lasting {
        Lasting::Token(lifetime) => (Kind::Api, now + lifetime),
        Lasting::UntilClosed(lifetime) | Lasting::Remembered(lifetime) => (Kind::Browser, lifetime.deadline(now, now)),
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
        .and_where(user::Column::DisabledAt.is_null())
        .lock(LockType::NoKeyUpdate)
        .take();
    let fault = |why: sea_orm::sea_query::error::Error| Fault::Internal(why.to_string());
    let mut insert = Query::insert();
    insert.into_table(Entity).columns(Column::iter()).select_from(same_user).map_err(fault)?;
    if conn.execute(&insert).await?.rows_affected() != 1 {
        return Ok(None);
    }
    let sessions = Condition::all().add(Column::UserId.eq(user.id)).add(Column::Kind.eq(kind));
    keep_newest::<Entity>(conn, sessions, (Column::LastSeenAt, Column::Id), MOST).await?;
    Ok(Some(session))
}

/// A browser's own description, no longer than we keep it.
pub(in crate::accounts) fn shortened(user_agent: &str) -> String {
    user_agent.chars().take(USER_AGENT_MAX).collect()
}

impl Lifetime {
    fn deadline(self, created_at: OffsetDateTime, now: OffsetDateTime) -> OffsetDateTime {
        (now + self.idle).min(created_at + self.absolute)
    }
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
/// renewed session when it did, which is when the cookie is to be renewed as well. Its deadline may have passed: it began
/// when the lifetimes were longer.
///
/// # Errors
/// When the database is out of reach.
pub async fn touch(
    conn: &impl ConnectionTrait,
    session: &Session,
    lifetimes: Lifetimes,
    ip: impl FnOnce() -> String,
    now: OffsetDateTime,
) -> Result<Option<Session>> {
    if now - session.last_seen_at < SEEN_EVERY {
        return Ok(None);
    }
    let expires_at = match session.kind {
        Kind::Browser if session.remember => lifetimes.remembered.deadline(session.created_at, now),
        Kind::Browser => lifetimes.until_closed.deadline(session.created_at, now),
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
pub(in crate::accounts) async fn all(
    conn: &impl ConnectionTrait,
    user: Uuid,
    now: OffsetDateTime,
) -> Result<Vec<Session>> {
    let those = Entity::find().filter(Column::UserId.eq(user)).filter(Column::ExpiresAt.gt(now));
    Ok(those.order_by_desc(Column::LastSeenAt).order_by_desc(Column::Id).all(conn).await?)
}

/// Ends one session of the user; true if it was there.
pub(in crate::accounts) async fn end_one(conn: &impl ConnectionTrait, user: Uuid, id: Uuid) -> Result<bool> {
    let that = Entity::delete_many().filter(Column::UserId.eq(user)).filter(Column::Id.eq(id));
    Ok(that.exec(conn).await?.rows_affected > 0)
}

/// Ends a session of the user and all that began after it, as their ids say; returns how many.
pub(in crate::accounts) async fn end_since(conn: &impl ConnectionTrait, user: Uuid, id: Uuid) -> Result<u64> {
    let these = Entity::delete_many().filter(Column::UserId.eq(user)).filter(Column::Id.gte(id));
    Ok(these.exec(conn).await?.rows_affected)
}

/// Ends every session of the user but this one, which gets another id: a copy of its cookie, wherever it is, then opens
/// nothing (OWASP ASVS 5.0, 7.2.4). Its time of log-in stays, so that nobody prolongs it so. Returns `None` if it has
/// ended meanwhile, else also how many others there were. Call it with the user's row locked: two sessions that end each other would wait for each other.
pub(in crate::accounts) async fn keep_only(
    conn: &impl ConnectionTrait,
    session: &Session,
) -> Result<Option<(Session, u64)>> {
    let id = chance::id();
    let update = Entity::update_many().col_expr(Column::Id, Expr::value(id)).filter(Column::Id.eq(session.id));
    if update.exec(conn).await?.rows_affected == 0 {
        return Ok(None);
    }
    let others = Entity::delete_many().filter(Column::UserId.eq(session.user_id)).filter(Column::Id.ne(id));
    let ended = others.exec(conn).await?.rows_affected;
    Ok(Some((Session { id, ..session.clone() }, ended)))
}

/// Ends a session.
///
/// # Errors
/// When the database is out of reach.
pub async fn end(conn: &impl ConnectionTrait, id: Uuid) -> Result<()> {
    Entity::delete_by_id(id).exec(conn).await?;
    Ok(())
}

/// Ends every session of the user. Returns how many have ended that had not expired.
pub(in crate::accounts) async fn end_all(conn: &impl ConnectionTrait, user: Uuid, now: OffsetDateTime) -> Result<u64> {
    let open = Entity::delete_many().filter(Column::UserId.eq(user)).filter(Column::ExpiresAt.gt(now));
    let ended = open.exec(conn).await?.rows_affected;
    Entity::delete_many().filter(Column::UserId.eq(user)).exec(conn).await?;
    Ok(ended)
}

/// How many sessions of the user have not ended.
///
/// # Errors
/// When the database is out of reach.
pub async fn count(conn: &impl ConnectionTrait, user: Uuid, now: OffsetDateTime) -> Result<u64> {
    Ok(Entity::find().filter(Column::UserId.eq(user)).filter(Column::ExpiresAt.gt(now)).count(conn).await?)
}

/// Counts the sessions whose cookie or token may have been signed before `since`, at any time if there is none. Returns how
/// many there are and when the last of them ends, or `None` if there is none.
///
/// A browser's cookie is signed when its session is used, an API token only once.
///
/// # Errors
/// When the database is out of reach.
pub async fn signed_before(
    conn: &impl ConnectionTrait,
    since: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Result<Option<(u64, OffsetDateTime)>> {
    let mut these = Entity::find().filter(Column::ExpiresAt.gt(now));
    if let Some(since) = since {
        // Times are whole seconds: what was signed in the same one may have been signed before.
        let of = |kind, signed: Column| Condition::all().add(Column::Kind.eq(kind)).add(signed.lte(since));
        let browsers = of(Kind::Browser, Column::LastSeenAt);
        these = these.filter(Condition::any().add(browsers).add(of(Kind::Api, Column::CreatedAt)));
    }
    let last = these.clone().order_by_desc(Column::ExpiresAt).one(conn).await?;
    Ok(match last {
        Some(session) => Some((these.count(conn).await?, session.expires_at)),
        None => None,
    })
}

/// Deletes what has expired; returns how many.
///
/// # Errors
/// When the database is out of reach.
pub async fn sweep(conn: &impl ConnectionTrait, now: OffsetDateTime) -> Result<u64> {
    Ok(delete_in_batches::<Entity>(conn, Column::ExpiresAt.lte(now)).await?)
}
