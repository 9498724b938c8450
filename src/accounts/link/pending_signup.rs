//! `pending_signups`: accounts that wait until the user confirms the address by the emailed link. They reserve no name.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::LockType;
use sea_orm::{QueryOrder, QuerySelect, Set};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::accounts::Result;
use crate::accounts::password::HashedPassword;
use crate::accounts::token::{Token, TokenDigest};
use crate::accounts::user::email::Email;
use crate::chance;
use crate::db::delete_in_batches;

/// An account that was asked for and is not confirmed yet.
pub type PendingSignup = Model;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "pending_signups")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    #[sea_orm(unique)]
    pub token_digest: Option<TokenDigest>,
    pub email: Email,
    pub email_canonical: String,
    pub username: String,
    pub username_canonical: String,
    pub full_name: String,
    pub hashed_password: HashedPassword,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// How long the link works.
pub const LIFETIME: Duration = Duration::hours(24);

pub(in crate::accounts) async fn insert(conn: &impl ConnectionTrait, pending: PendingSignup) -> Result<PendingSignup> {
    let row: ActiveModel = pending.into();
    Ok(row.reset_all().insert(conn).await?)
}

/// Returns the row, if it has not expired.
pub(in crate::accounts) async fn find(
    conn: &impl ConnectionTrait,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<Option<PendingSignup>> {
    Ok(Entity::find_by_id(id).filter(Column::ExpiresAt.gt(now)).one(conn).await?)
}

/// Returns the row that this link belongs to, if the link still works. Reads only.
pub(in crate::accounts) async fn by_token(
    conn: &impl ConnectionTrait,
    token: &Token,
    now: OffsetDateTime,
) -> Result<Option<PendingSignup>> {
    let alive = Entity::find().filter(Column::TokenDigest.eq(token.digest())).filter(Column::ExpiresAt.gt(now));
    Ok(alive.one(conn).await?)
}

/// Makes the link for a letter that is about to be sent.
///
/// A letter may be sent twice: when the first attempt ended without an answer, or the user asks for it again. The first
/// link must go on working, so a row that has its link already gets a twin for the second.
///
/// The link works for [`LIFETIME`] from now on: that is what its letter says, however late it is sent.
pub(in crate::accounts) async fn issue(
    conn: &impl ConnectionTrait,
    pending: PendingSignup,
    now: OffsetDateTime,
) -> Result<Token> {
    let token = Token::random();
    let (digest, expires_at) = (Some(token.digest()), now + LIFETIME);
    let first = Entity::update_many()
        .set(ActiveModel { token_digest: Set(digest.clone()), expires_at: Set(expires_at), ..Default::default() })
        .filter(Column::Id.eq(pending.id))
        .filter(Column::TokenDigest.is_null());
    if first.exec(conn).await?.rows_affected == 0 {
        insert(conn, PendingSignup { id: chance::id(), token_digest: digest, expires_at, ..pending }).await?;
    }
    Ok(token)
}

/// Deletes the row. Returns `true` for exactly one caller, however many call at once.
pub(in crate::accounts) async fn redeem(
    conn: &impl ConnectionTrait,
    token: &Token,
    now: OffsetDateTime,
) -> Result<bool> {
    let delete = Entity::delete_many().filter(Column::TokenDigest.eq(token.digest())).filter(Column::ExpiresAt.gt(now));
    Ok(delete.exec(conn).await?.rows_affected == 1)
}

/// Locks every row for this address until the transaction ends, where rows can be locked. Two confirmations of one address
/// would otherwise lock a row each, and wait for each other.
pub(in crate::accounts) async fn lock_all(conn: &impl ConnectionTrait, email_canonical: &str) -> Result<()> {
    let rows = Entity::find().filter(Column::EmailCanonical.eq(email_canonical)).order_by_asc(Column::Id);
    rows.lock(LockType::Update).all(conn).await?;
    Ok(())
}

/// Deletes every row for this address.
pub(in crate::accounts) async fn delete_all(conn: &impl ConnectionTrait, email_canonical: &str) -> Result<()> {
    lock_all(conn, email_canonical).await?;
    Entity::delete_many().filter(Column::EmailCanonical.eq(email_canonical)).exec(conn).await?;
    Ok(())
}

/// Deletes the rows that have expired. Returns how many.
pub async fn sweep(conn: &impl ConnectionTrait, now: OffsetDateTime) -> Result<u64> {
    Ok(delete_in_batches::<Entity>(conn, Column::ExpiresAt.lte(now)).await?)
}
