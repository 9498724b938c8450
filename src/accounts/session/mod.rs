//! `sessions`: which browsers and programs are logged in. The row is the truth: without its row, a cookie or a token opens
//! nothing.

pub mod device;
pub mod resume;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Query;
use sea_orm::{Condition, IntoActiveModel, Iterable, QueryOrder, QuerySelect, QueryTrait};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::policy::{Lasting, Lifetimes};
use crate::accounts::user::{self, User};
use crate::accounts::{Client, Fault, Result, insert_and_keep_newest};
use crate::chance;
use crate::clock::APART;
use crate::db::{Transaction, delete_in_batches};

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
    pub kind: SessionKind,
}

/// What is logged in. A cookie does not open a program's session, and a bearer token does not open a browser's, even if an
/// attacker could forge one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::None)", rename_all = "snake_case")]
pub enum SessionKind {
    /// A browser, by its cookie.
    Browser,
    /// A program, by its bearer token.
    Api,
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

/// How many sessions of one kind one account has; the ones that were used last stay. Each kind is counted by itself, so that
/// a program that asks for a new token each time never logs a user out.
const MOST: u64 = 50;

impl Lasting {
    fn kind(self) -> SessionKind {
        match self {
            Self::UntilClosed | Self::Remembered => SessionKind::Browser,
            Self::Token => SessionKind::Api,
        }
    }
}

/// Starts a session, if the user's password is still the one in `user` and the account is not disabled. Every log-in gets a
/// row of its own, so that an attacker cannot make a user continue a session whose id the attacker knows (session
/// fixation).
///
/// Between the check of a password and its use lie 10 to 20 ms of hashing. A reset may end in them, and a password that was
/// checked before it must not open anything after it. The same holds for an account that is disabled meanwhile: its
/// sessions were ended, and none may begin after that. So the statement that adds the row reads the user again, and locks it until
/// the transaction ends.
pub(in crate::accounts) async fn start(
    tx: &Transaction,
    user: &User,
    (lasting, lifetimes): (Lasting, Lifetimes),
    client: &Client,
    now: OffsetDateTime,
) -> Result<Option<Session>> {
    let session = Session {
        id: chance::id(),
        user_id: user.id,
        created_at: now,
        authenticated_at: now,
        last_seen_at: now,
        expires_at: lifetimes.end_of(lasting, now),
        remember: lasting == Lasting::Remembered,
        kind: lasting.kind(),
        ip: client.ip_text(),
        user_agent: client.stored_user_agent(),
    };
    let values = Column::iter().map(|column| Expr::val(session.get(column)));
    let still = user::locked_if_password_is(user.id, &user.hashed_password).filter(user::Column::DisabledAt.is_null());
    let mut insert = Query::insert();
    insert.into_table(Entity).columns(Column::iter());
    insert
        .select_from(still.select_only().exprs(values).into_query())
        .map_err(|why| Fault::Internal(why.to_string()))?;
    let of_kind = Condition::all().add(Column::UserId.eq(user.id)).add(Column::Kind.eq(session.kind));
    let newest = (Column::LastSeenAt, Column::Id);
    let began = insert_and_keep_newest::<Entity>(tx, insert, of_kind, newest, MOST).await?;
    Ok(began.then_some(session))
}

/// Returns a session.
pub(in crate::accounts) async fn by_id(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Session>> {
    Ok(Entity::find_by_id(id).one(conn).await?)
}

/// Returns whether the session has not ended.
pub(in crate::accounts) async fn is_open(conn: &impl ConnectionTrait, id: Uuid, now: OffsetDateTime) -> Result<bool> {
    Ok(by_id(conn, id).await?.is_some_and(|session| session.expires_at > now))
}

/// Returns the sessions of the user that have not ended, the one that was used last first.
pub(in crate::accounts) async fn all(
    conn: &impl ConnectionTrait,
    user: Uuid,
    now: OffsetDateTime,
) -> Result<Vec<Session>> {
    let open = Entity::find().filter(Column::UserId.eq(user)).filter(Column::ExpiresAt.gt(now));
    Ok(open.order_by_desc(Column::LastSeenAt).order_by_desc(Column::Id).all(conn).await?)
}

/// Ends one session of the user. Returns whether it was there.
pub(in crate::accounts) async fn end_one(conn: &impl ConnectionTrait, user: Uuid, id: Uuid) -> Result<bool> {
    let delete = Entity::delete_many().filter(Column::UserId.eq(user)).filter(Column::Id.eq(id));
    Ok(delete.exec(conn).await?.rows_affected > 0)
}

/// Ends a session of the user and all that began after it, by the times in their ids. Returns how many have ended.
///
/// A thief's second log-in may have come to a node whose clock is behind that of the first one. So the sessions of the
/// seconds before the first one end too. Each clock may differ from the database's by [`APART`], and so two of them by
/// twice that.
pub(in crate::accounts) async fn end_since(conn: &impl ConnectionTrait, user: Uuid, id: Uuid) -> Result<u64> {
    let first = chance::earlier(id, APART * 2);
    let delete = Entity::delete_many().filter(Column::UserId.eq(user)).filter(Column::Id.gte(first));
    Ok(delete.exec(conn).await?.rows_affected)
}

/// Ends every session of the user but this one, which gets another id: a copy of its cookie then opens nothing (OWASP ASVS
/// 5.0, 7.2.4), and neither does what an app has got in it. Its time of log-in stays, so that an attacker cannot prolong it in
/// this way. Returns the session and how many others have ended, or `None` if it has ended meanwhile. Call it with the user's row
/// locked. Otherwise two sessions that end each other would wait for each other.
pub(in crate::accounts) async fn keep_only(
    conn: &impl ConnectionTrait,
    session: &Session,
) -> Result<Option<(Session, u64)>> {
    let Some(row) = by_id(conn, session.id).await? else { return Ok(None) };
    let all = Entity::delete_many().filter(Column::UserId.eq(session.user_id));
    let ended = all.exec(conn).await?.rows_affected.saturating_sub(1);
    let kept = Session { id: chance::id(), ..row };
    Entity::insert(kept.clone().into_active_model().reset_all()).exec_without_returning(conn).await?;
    Ok(Some((kept, ended)))
}

/// Ends a session.
pub(in crate::accounts) async fn end(conn: &impl ConnectionTrait, id: Uuid) -> Result<()> {
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

/// Returns how many sessions of the user have not ended.
pub async fn count(conn: &impl ConnectionTrait, user: Uuid, now: OffsetDateTime) -> Result<u64> {
    Ok(Entity::find().filter(Column::UserId.eq(user)).filter(Column::ExpiresAt.gt(now)).count(conn).await?)
}

/// Counts the sessions whose cookie or token may have been signed before `since`, or at any time without it. Returns how
/// many there are and when the last of them ends, or `None` if there is none.
///
/// A browser's cookie is signed when its session is used, an API token only once. Where apps stand behind proxies
/// (`behind_proxies`), a session may be used for long and none of its cookies signed: proxies cannot hand one on.
pub async fn signed_before(
    conn: &impl ConnectionTrait,
    (since, behind_proxies): (Option<OffsetDateTime>, bool),
    now: OffsetDateTime,
) -> Result<Option<(u64, OffsetDateTime)>> {
    let mut sessions = Entity::find().filter(Column::ExpiresAt.gt(now));
    if let Some(since) = since {
        // Times are whole seconds: a cookie that was signed in the same second may have been signed before.
        let of = |kind, signed: Column| Condition::all().add(Column::Kind.eq(kind)).add(signed.lte(since));
        let signed = if behind_proxies { Column::CreatedAt } else { Column::LastSeenAt };
        let browsers = of(SessionKind::Browser, signed);
        sessions = sessions.filter(Condition::any().add(browsers).add(of(SessionKind::Api, Column::CreatedAt)));
    }
    let last = sessions.clone().order_by_desc(Column::ExpiresAt).one(conn).await?;
    Ok(match last {
        Some(session) => Some((sessions.count(conn).await?, session.expires_at)),
        None => None,
    })
}

/// Deletes the sessions that have expired. Returns how many.
pub async fn sweep(conn: &impl ConnectionTrait, now: OffsetDateTime) -> Result<u64> {
    Ok(delete_in_batches::<Entity>(conn, Column::ExpiresAt.lte(now)).await?)
}
