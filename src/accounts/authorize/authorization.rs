//! `authorizations`: each time that an app was opened in a session. A row begins with a code, and all tokens that the app gets
//! for the code hang on it. It ends with its session.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, Func};
use sea_orm::{Condition, QueryOrder, QuerySelect, QueryTrait, Set};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::request::Request;
use super::scope::Scope;
use crate::accounts::session::{self, Session};
use crate::accounts::token::{Token, TokenDigest};
use crate::accounts::{Result, insert_and_keep_newest};
use crate::chance;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "authorizations")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub user_id: Uuid,
    pub app_id: Uuid,
    pub session_id: Uuid,
    pub scopes: String,
    pub redirect_uri: String,
    pub nonce: Option<String>,
    pub code_challenge: Option<String>,
    pub code_digest: TokenDigest,
    pub created_at: OffsetDateTime,
    pub code_used_at: Option<OffsetDateTime>,
    pub refreshes: i32,
    pub last_used_at: OffsetDateTime,
    pub sid: Option<Uuid>,
    pub authenticated_at: Option<OffsetDateTime>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Returns the session, as the app knows it: the one in which it was opened.
    pub(in crate::accounts) fn sid(&self) -> Uuid {
        self.sid.unwrap_or(self.session_id)
    }
}

/// How long a code works. An app takes it at once, and whoever reads it elsewhere later has nothing (RFC 6749, 4.1.2).
pub const CODE_LIVES: Duration = Duration::seconds(60);
/// How many of one app are kept in one session. An app that sends its visitors here again and again would fill the table.
const MOST: u64 = 20;

/// Counts the refresh tokens that were made before `since`, or at any time without it, and that still work. Returns how many there
/// are and when the last of their sessions ends, or `None` if there is none.
///
/// A refresh token is proved by the secret that was the newest when it was made. Each refresh makes the next one.
pub async fn refreshed_before(
    conn: &impl ConnectionTrait,
    since: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Result<Option<(u64, OffsetDateTime)>> {
    let lasting = Column::Scopes.contains(Scope::OfflineAccess.name());
    let mut made = Entity::find().filter(lasting).filter(Column::CodeUsedAt.is_not_null());
    if let Some(since) = since {
        made = made.filter(Column::LastUsedAt.lte(since)); // whole seconds, as of cookies
    }
    let ids = made.clone().select_only().column(Column::SessionId).into_query();
    let open = session::Entity::find().filter(session::Column::ExpiresAt.gt(now));
    let open = open.filter(session::Column::Id.in_subquery(ids));
    let last = open.clone().order_by_desc(session::Column::ExpiresAt).one(conn).await?;
    let Some(last) = last else { return Ok(None) };
    let open = open.select_only().column(session::Column::Id).into_query();
    Ok(Some((made.filter(Column::SessionId.in_subquery(open)).count(conn).await?, last.expires_at)))
}

/// Begins an authorization, and returns its code.
pub(super) async fn begin(
    conn: &impl ConnectionTrait,
    session: &Session,
    request: &Request,
    now: OffsetDateTime,
) -> Result<Token> {
    let code = Token::random();
    let row = ActiveModel {
        id: Set(chance::id()),
        user_id: Set(session.user_id),
        app_id: Set(request.app.id),
        session_id: Set(session.id),
        scopes: Set(request.scopes.to_string()),
        redirect_uri: Set(request.redirect_uri.clone()),
        nonce: Set(request.nonce.clone()),
        code_challenge: Set(request.code_challenge.clone()),
        code_digest: Set(code.digest()),
        created_at: Set(now),
        code_used_at: Set(None),
        refreshes: Set(0),
        last_used_at: Set(now),
        sid: Set(None),
        authenticated_at: Set(None),
    };
    let same = Condition::all().add(Column::SessionId.eq(session.id)).add(Column::AppId.eq(request.app.id));
    // Codes that nobody took must not push out what is in use.
    let late = same.clone().add(Column::CodeUsedAt.is_null()).add(Column::CreatedAt.lte(now - CODE_LIVES));
    Entity::delete_many().filter(late).exec(conn).await?;
    let row = Entity::insert(row).into_query();
    insert_and_keep_newest::<Entity>(conn, row, same, (Column::LastUsedAt, Column::Id), MOST).await?;
    Ok(code)
}

/// Lets all that apps have got in a session go on in another session of the same user. The apps go on knowing it by the first one's
/// id, and the time of its log-in stays true of them.
pub(in crate::accounts) async fn go_on(conn: &impl ConnectionTrait, from: &Session, to: &Session) -> Result<()> {
    let moved = Entity::update_many()
        .col_expr(Column::SessionId, to.id.into())
        .col_expr(Column::Sid, Func::coalesce([Expr::col(Column::Sid), from.id.into()]).into())
        .col_expr(
            Column::AuthenticatedAt,
            Func::coalesce([Expr::col(Column::AuthenticatedAt), from.authenticated_at.into()]).into(),
        )
        .filter(Column::SessionId.eq(from.id));
    moved.exec(conn).await?;
    Ok(())
}

/// Returns whether what an app has got in the session that it knows by this id goes on in another one.
pub(in crate::accounts) async fn has_gone_on(conn: &impl ConnectionTrait, sid: Uuid, session: Uuid) -> Result<bool> {
    let moved = Entity::find().filter(Column::SessionId.eq(session)).filter(Column::Sid.eq(sid));
    Ok(moved.one(conn).await?.is_some())
}

/// Returns the authorizations of which an app has got tokens of a user.
pub(in crate::accounts) async fn of_app(conn: &impl ConnectionTrait, (user, app): (Uuid, Uuid)) -> Result<Vec<Model>> {
    let of_app = Entity::find().filter(Column::UserId.eq(user)).filter(Column::AppId.eq(app));
    // Locked, and looked at only then: a code may be redeemed at this moment.
    let rows = of_app.lock_exclusive().all(conn).await?;
    Ok(rows.into_iter().filter(|row| row.code_used_at.is_some()).collect())
}

/// Ends all that an app has got of a user.
pub(in crate::accounts) async fn end_of_app(conn: &impl ConnectionTrait, (user, app): (Uuid, Uuid)) -> Result<()> {
    Entity::delete_many().filter(Column::UserId.eq(user)).filter(Column::AppId.eq(app)).exec(conn).await?;
    Ok(())
}
