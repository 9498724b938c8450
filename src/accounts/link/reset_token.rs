//! `reset_tokens`: the links with which a user who forgot the password chooses a new one.

use sea_orm::entity::prelude::*;
use sea_orm::{QueryTrait, Set};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::LinkTable;
use crate::accounts::token::{Token, TokenDigest};
use crate::accounts::user::{self, User};
use crate::accounts::{Result, insert_and_keep_newest};
use crate::chance;
use crate::db::delete_in_batches;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reset_tokens")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub user_id: Uuid,
    #[sea_orm(unique)]
    pub token_digest: TokenDigest,
    pub email_at_issue: String,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub used_at: Option<OffsetDateTime>,
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

/// How long a link works.
pub const LIFETIME: Duration = Duration::hours(1);
/// How many links of one user work at a time. A user who asks again because the first email is slow may use any of them.
const ALIVE_MAX: u64 = 3;

/// Makes a link for the user, whose row is locked, and deletes the oldest one if there are more than three.
pub(in crate::accounts) async fn issue(conn: &impl ConnectionTrait, user: &User, now: OffsetDateTime) -> Result<Token> {
    let token = Token::random();
    let row = ActiveModel {
        id: Set(chance::id()),
        user_id: Set(user.id),
        token_digest: Set(token.digest()),
        email_at_issue: Set(user.email_canonical.clone()),
        created_at: Set(now),
        expires_at: Set(now + LIFETIME),
        used_at: Set(None),
    };
    let (row, of_user) = (Entity::insert(row).into_query(), Column::UserId.eq(user.id).into());
    insert_and_keep_newest::<Entity>(conn, row, of_user, (Column::CreatedAt, Column::Id), ALIVE_MAX).await?;
    Ok(token)
}

/// Returns the user whose password this link changes, or `None` if the link has expired or was used, or the account is
/// disabled. Reads only.
pub(in crate::accounts) async fn holder(
    conn: &impl ConnectionTrait,
    token: &Token,
    now: OffsetDateTime,
) -> Result<Option<User>> {
    let found = super::find::<Entity>(conn, token, now).await?;
    Ok(found.and_then(|(link, user)| link.used_at.is_none().then_some(user)))
}

/// Deletes every link of the user that was not used.
pub(in crate::accounts) async fn delete_unused(conn: &impl ConnectionTrait, user: Uuid) -> Result<()> {
    Entity::delete_many().filter(Column::UserId.eq(user)).filter(Column::UsedAt.is_null()).exec(conn).await?;
    Ok(())
}

/// Deletes the links that have expired. Returns how many.
pub async fn sweep(conn: &impl ConnectionTrait, now: OffsetDateTime) -> Result<u64> {
    Ok(delete_in_batches::<Entity>(conn, Column::ExpiresAt.lte(now)).await?)
}
