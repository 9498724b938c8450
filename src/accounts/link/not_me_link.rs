//! `not_me_links`: the links “this was not me” in emails about what happened to an account.

use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, Set};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::accounts::Result;
use crate::accounts::token::{Token, TokenDigest};
use crate::accounts::user::{self, User};
use crate::chance;
use crate::db::delete_in_batches;

/// A link that was emailed.
pub type NotMeLink = Model;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "not_me_links")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub user_id: Uuid,
    #[sea_orm(unique)]
    pub token_digest: TokenDigest,
    pub email_at_issue: String,
    pub session_id: Uuid,
    pub act_id: Uuid,
    pub about: About,
    pub times: i32,
    pub at: OffsetDateTime,
    pub ip: String,
    pub user_agent: String,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub used_at: Option<OffsetDateTime>,
    pub ended: i32,
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

/// What the email told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::None)", rename_all = "snake_case")]
pub enum About {
    /// A log-in, or several.
    LogIn,
    /// Other devices that were logged out.
    LogOut,
}

/// How long a link works.
pub const LIFETIME: Duration = Duration::days(7);

/// Makes a token, and a row like `link` for it. A second sending of the same email gets a row of its own, so that the
/// link of the first one goes on working.
pub(in crate::accounts) async fn issue(
    conn: &impl ConnectionTrait,
    link: ActiveModel,
    now: OffsetDateTime,
) -> Result<Token> {
    let token = Token::random();
    let row = ActiveModel {
        id: Set(chance::id()),
        token_digest: Set(token.digest()),
        created_at: Set(now),
        expires_at: Set(now + LIFETIME),
        used_at: Set(None),
        ended: Set(0),
        ..link
    };
    row.insert(conn).await?;
    Ok(token)
}

/// Takes back a token whose email certainly did not go out.
pub(in crate::accounts) async fn discard(conn: &impl ConnectionTrait, token: &Token) -> Result<()> {
    Entity::delete_many().filter(Column::TokenDigest.eq(token.digest())).exec(conn).await?;
    Ok(())
}

/// Returns this link and its user, or `None` if it has expired or is the user's no more. A used link is returned too. Reads
/// only: looking at a link never uses it, because mail scanners open links as well.
pub(in crate::accounts) async fn find(
    conn: &impl ConnectionTrait,
    token: &Token,
    now: OffsetDateTime,
) -> Result<Option<(NotMeLink, User)>> {
    let alive = Entity::find().filter(Column::TokenDigest.eq(token.digest())).filter(Column::ExpiresAt.gt(now));
    let found = alive.find_also_related(user::Entity).one(conn).await?;
    let found = found.and_then(|(link, user)| Some((link, user?)));
    Ok(found.filter(|(link, user)| user.owns_link_to(&link.email_at_issue)))
}

/// Uses the link up: true for exactly one caller, however many try at once. One guarded UPDATE, as for reset tokens.
pub(in crate::accounts) async fn redeem(conn: &impl ConnectionTrait, link: Uuid, now: OffsetDateTime) -> Result<bool> {
    let update = Entity::update_many().col_expr(Column::UsedAt, Expr::value(now)).filter(Column::Id.eq(link));
    let unused = update.filter(Column::UsedAt.is_null()).filter(Column::ExpiresAt.gt(now));
    Ok(unused.exec(conn).await?.rows_affected == 1)
}

/// Returns the first session that an email told this user of, as far as the link in it still works.
pub(in crate::accounts) async fn first_session(
    conn: &impl ConnectionTrait,
    user: Uuid,
    now: OffsetDateTime,
) -> Result<Option<Uuid>> {
    let theirs = Entity::find().filter(Column::UserId.eq(user)).filter(Column::ExpiresAt.gt(now));
    Ok(theirs.order_by_asc(Column::SessionId).one(conn).await?.map(|link| link.session_id))
}

/// Deletes all links of the user.
pub(in crate::accounts) async fn kill_all(conn: &impl ConnectionTrait, user: Uuid) -> Result<()> {
    Entity::delete_many().filter(Column::UserId.eq(user)).exec(conn).await?;
    Ok(())
}

/// Notes how many sessions ended when the link was used.
pub(in crate::accounts) async fn note_ended(conn: &impl ConnectionTrait, link: Uuid, ended: u64) -> Result<()> {
    let ended = i32::try_from(ended).unwrap_or(i32::MAX);
    let row = ActiveModel { ended: Set(ended), ..Default::default() };
    Entity::update_many().set(row).filter(Column::Id.eq(link)).exec(conn).await?;
    Ok(())
}

/// Deletes what has expired; returns how many.
///
/// # Errors
/// When the database is out of reach.
pub async fn sweep(conn: &impl ConnectionTrait, now: OffsetDateTime) -> Result<u64> {
    Ok(delete_in_batches::<Entity>(conn, Column::ExpiresAt.lte(now)).await?)
}
