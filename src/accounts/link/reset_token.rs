//! `reset_tokens`: the links that let people back in.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::LockType;
use sea_orm::{QueryOrder, QuerySelect, Set};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::accounts::token::{Token, TokenDigest};
use crate::accounts::user::{self, User};
use crate::accounts::{Result, keep_newest};
use crate::chance;
use crate::db::delete_in_batches;

/// A link that was mailed.
pub type ResetToken = Model;

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

/// How long a link works.
pub const LIFETIME: Duration = Duration::hours(1);
/// How many links of one user work at a time: whoever asks again because the first letter is slow may use
/// whichever comes.
const ALIVE_MAX: u64 = 3;

/// Locks all links of the user until the transaction ends, where rows can be locked.
pub(in crate::accounts) async fn lock_all(conn: &impl ConnectionTrait, user: Uuid) -> Result<()> {
    let theirs = Entity::find().filter(Column::UserId.eq(user)).order_by_asc(Column::Id);
    theirs.lock(LockType::Update).all(conn).await?;
    Ok(())
}

/// Makes a token for the user; the oldest dies when there would be more than three.
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
    row.insert(conn).await?;

    keep_newest::<Entity>(conn, Column::UserId.eq(user.id).into(), (Column::CreatedAt, Column::Id), ALIVE_MAX).await?;
    Ok(token)
}

/// Takes back a token whose letter certainly did not go out.
pub(in crate::accounts) async fn discard(conn: &impl ConnectionTrait, token: &Token) -> Result<()> {
    Entity::delete_many().filter(Column::TokenDigest.eq(token.digest())).exec(conn).await?;
    Ok(())
}

/// Whose link this is, if it still works; not if the account is disabled. Reads only: looking at a link never burns it.
pub(in crate::accounts) async fn holder(
    conn: &impl ConnectionTrait,
    token: &Token,
    now: OffsetDateTime,
) -> Result<Option<User>> {
    let alive = Entity::find()
        .filter(Column::TokenDigest.eq(token.digest()))
        .filter(Column::UsedAt.is_null())
        .filter(Column::ExpiresAt.gt(now));
    let found = alive.find_also_related(user::Entity).one(conn).await?;
    Ok(found.and_then(|(row, user)| user.filter(|user| user.owns_link_to(&row.email_at_issue))))
}

/// Uses the token up: true for exactly one caller, however many try at once.
///
/// One guarded UPDATE, not a look and then a write: between the two, a second request with the same link
/// would pass the look as well.
pub(in crate::accounts) async fn redeem(
    conn: &impl ConnectionTrait,
    token: &Token,
    now: OffsetDateTime,
) -> Result<bool> {
    let done = Entity::update_many()
        .col_expr(Column::UsedAt, Expr::value(now))
        .filter(Column::TokenDigest.eq(token.digest()))
        .filter(Column::UsedAt.is_null())
        .filter(Column::ExpiresAt.gt(now))
        .exec(conn)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Kills every link of the user that has not been used.
pub(in crate::accounts) async fn kill_all(conn: &impl ConnectionTrait, user: Uuid) -> Result<()> {
    Entity::delete_many().filter(Column::UserId.eq(user)).filter(Column::UsedAt.is_null()).exec(conn).await?;
    Ok(())
}

/// Deletes what has expired; returns how many.
///
/// # Errors
/// When the database is out of reach.
pub async fn sweep(conn: &impl ConnectionTrait, now: OffsetDateTime) -> Result<u64> {
    Ok(delete_in_batches::<Entity>(conn, Column::ExpiresAt.lte(now)).await?)
}
