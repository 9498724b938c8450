//! `not_me_links`: the links “this was not me” in emails about what happened to an account.

use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, Set};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::LinkTable;
use crate::accounts::token::{Token, TokenDigest};
use crate::accounts::user::{self, User};
use crate::accounts::{Asked, Result};
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

impl LinkTable for Entity {
    const TOKEN_DIGEST: Column = Column::TokenDigest;
    const EXPIRES_AT: Column = Column::ExpiresAt;
    const USED_AT: Column = Column::UsedAt;

    fn email_at_issue(link: &Model) -> &str {
        &link.email_at_issue
    }
}

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

/// What an email tells of, so that its link can say that it was not the owner.
#[derive(Debug)]
pub struct Report<'a> {
    /// The user.
    pub user: Uuid,
    /// The first session that the email tells of.
    pub session: Uuid,
    /// An id from the time at which it happened: of that session, if it is about a log-in.
    pub act: Uuid,
    /// What happened.
    pub about: About,
    /// How often.
    pub times: usize,
    /// When and from where, the first time.
    pub asked: &'a Asked,
}

/// Makes a link for this report. A second sending of the same email gets a row of its own, so that the link of the first
/// one goes on working.
pub(in crate::accounts) async fn issue(
    conn: &impl ConnectionTrait,
    (report, user): (&Report<'_>, &User),
    now: OffsetDateTime,
) -> Result<Token> {
    let token = Token::random();
    let row = ActiveModel {
        id: Set(chance::id()),
        user_id: Set(user.id),
        token_digest: Set(token.digest()),
        email_at_issue: Set(user.email_canonical.clone()),
        session_id: Set(report.session),
        act_id: Set(report.act),
        about: Set(report.about),
        times: Set(i32::try_from(report.times).unwrap_or(i32::MAX)),
        at: Set(report.asked.at),
        ip: Set(report.asked.ip.clone()),
        user_agent: Set(report.asked.user_agent.clone()),
        created_at: Set(now),
        expires_at: Set(now + LIFETIME),
        used_at: Set(None),
        ended: Set(0),
    };
    Entity::insert(row).exec_without_returning(conn).await?;
    Ok(token)
}

/// Returns this link and its user, or `None` if it has expired or the user owns it no more. A used link is returned too.
/// Reads only.
pub(in crate::accounts) async fn find(
    conn: &impl ConnectionTrait,
    token: &Token,
    now: OffsetDateTime,
) -> Result<Option<(NotMeLink, User)>> {
    super::find::<Entity>(conn, token, now).await
}

/// Returns the first session that an email told this user of, as far as the link in it still works.
pub(in crate::accounts) async fn first_session(
    conn: &impl ConnectionTrait,
    user: Uuid,
    now: OffsetDateTime,
) -> Result<Option<Uuid>> {
    let links = Entity::find().filter(Column::UserId.eq(user)).filter(Column::ExpiresAt.gt(now));
    Ok(links.order_by_asc(Column::SessionId).one(conn).await?.map(|link| link.session_id))
}

/// Deletes all links of the user.
pub(in crate::accounts) async fn delete_all(conn: &impl ConnectionTrait, user: Uuid) -> Result<()> {
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

/// Deletes the links that have expired. Returns how many.
pub async fn sweep(conn: &impl ConnectionTrait, now: OffsetDateTime) -> Result<u64> {
    Ok(delete_in_batches::<Entity>(conn, Column::ExpiresAt.lte(now)).await?)
}
