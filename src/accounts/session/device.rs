//! `devices`: the browsers that an account knows, because its user has logged in with them.
//!
//! A cookie holds the browser's device token, and a row names each account that was used with it. The token opens nothing.
//! The failures of a known browser are counted by themselves, and a log-in from it needs no letter.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{CaseStatement, ExprTrait, IntoCondition};
use sea_orm::{JoinType, QuerySelect, QueryTrait, Set, UpdateMany};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::accounts::session::SessionKind;
use crate::accounts::token::{Token, TokenDigest};
use crate::accounts::user::{self, User};
use crate::accounts::{Client, Result, insert_and_keep_newest};
use crate::chance;
use crate::db::delete_in_batches;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "devices")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub user_id: Uuid,
    pub token_digest: TokenDigest,
    pub last_seen_at: OffsetDateTime,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// How many devices of one account are kept; the ones that were used last stay.
const MOST: u64 = 20;
/// After this time without a log-in, a browser is a new one.
pub const LIFETIME: Duration = Duration::days(180);

/// Returns the row by which the account knows this browser, if it does.
pub(in crate::accounts) async fn find(
    conn: &impl ConnectionTrait,
    device: &TokenDigest,
    user: Uuid,
    now: OffsetDateTime,
) -> Result<Option<Uuid>> {
    let rows = Entity::find().filter(Column::UserId.eq(user)).filter(is(device, now));
    Ok(rows.one(conn).await?.map(|row| row.id))
}

/// Returns the user with this address or username, and the row by which the account knows this browser. With an account or without,
/// it is one query, so that its time tells little.
pub(in crate::accounts) async fn by_login(
    conn: &impl ConnectionTrait,
    login: &str,
    device: &TokenDigest,
    now: OffsetDateTime,
) -> Result<(Option<User>, Option<Uuid>)> {
    let Some(has_login) = user::has_login(login) else { return Ok((None, None)) };
    let device = is(device, now);
    let of_user = Entity::belongs_to(user::Entity).from(Column::UserId).to(user::Column::Id);
    let of_user = RelationDef::from(of_user).rev().on_condition(move |_, _| device.clone().into_condition());
    let found = user::Entity::find().filter(has_login).join(JoinType::LeftJoin, of_user);
    let (user, device) = found.select_also(Entity).one(conn).await?.unzip();
    Ok((user, device.flatten().map(|row| row.id)))
}

/// Returns the condition that a row is of this device, and has not expired.
fn is(device: &TokenDigest, now: OffsetDateTime) -> Expr {
    Column::TokenDigest.eq(device.clone()).and(Column::LastSeenAt.gt(now - LIFETIME))
}

/// Returns when the browser with this row was used for the first log-in to the account: the time in the row's id (RFC 9562,
/// 5.7).
pub(in crate::accounts) fn first_seen_at(id: Uuid) -> OffsetDateTime {
    let seconds = id.get_timestamp().map_or(0, |timestamp| timestamp.to_unix().0);
    let seconds = i64::try_from(seconds).unwrap_or_default();
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Returns the canonical addresses of the accounts that know this browser.
pub(in crate::accounts) async fn addresses(
    conn: &impl ConnectionTrait,
    device: &TokenDigest,
    now: OffsetDateTime,
) -> Result<Vec<String>> {
    let rows = Entity::find().filter(Column::TokenDigest.eq(device.clone()));
    let rows = rows.filter(Column::LastSeenAt.gt(now - LIFETIME)).all(conn).await?;
    user::addresses(conn, rows.into_iter().map(|row| row.user_id)).await
}

/// Gives a browser another device token, which takes over all rows of the old one. A device token lives from one log-in to
/// the next only, so that an attacker who planted or copied the old one has nothing.
pub(in crate::accounts) async fn replace_token(conn: &impl ConnectionTrait, old: &Token) -> Result<Token> {
    let new = Token::random();
    hand_over(old, &new).exec(conn).await?;
    Ok(new)
}

/// Lets a device token take over all rows of another one.
fn hand_over(old: &Token, new: &Token) -> UpdateMany<Entity> {
    let row = ActiveModel { token_digest: Set(new.digest()), ..Default::default() };
    Entity::update_many().set(row).filter(Column::TokenDigest.eq(old.digest()))
}

/// Makes what the client uses known to the account: a browser by a new device token, which is returned, and a program by
/// its network.
pub(in crate::accounts) async fn make_known(
    conn: &impl ConnectionTrait,
    kind: SessionKind,
    user: Uuid,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Option<Token>> {
    let (new, digest) = match kind {
        SessionKind::Browser => {
            let new = Token::random();
            let digest = new.digest();
            (Some(new), digest)
        }
        SessionKind::Api => (None, TokenDigest::of_programs(client.ip, client.via)),
    };
    let seen = match (&new, &client.device) {
        (Some(new), Some(old)) => {
            let last_seen =
                CaseStatement::new().case(Column::UserId.eq(user), now).finally(Expr::col(Column::LastSeenAt));
            let rows = hand_over(old, new).col_expr(Column::LastSeenAt, last_seen.into());
            rows.exec_with_returning(conn).await?.iter().any(|row| row.user_id == user)
        }
        (Some(_), None) => false,
        (None, _) => {
            let row = ActiveModel { last_seen_at: Set(now), ..Default::default() };
            let rows = Entity::update_many().set(row).filter(Column::TokenDigest.eq(digest.clone()));
            rows.filter(Column::UserId.eq(user)).exec(conn).await?.rows_affected > 0
        }
    };
    if !seen {
        let row = ActiveModel {
            id: Set(chance::id()),
            user_id: Set(user),
            token_digest: Set(digest),
            last_seen_at: Set(now),
        };
        let (row, of_user) = (Entity::insert(row).into_query(), Column::UserId.eq(user).into());
        insert_and_keep_newest::<Entity>(conn, row, of_user, (Column::LastSeenAt, Column::Id), MOST).await?;
    }
    Ok(new)
}

/// Forgets every browser of the user, except the one with the device token `keep`.
pub(in crate::accounts) async fn forget_all(
    conn: &impl ConnectionTrait,
    user: Uuid,
    keep: Option<&Token>,
) -> Result<()> {
    let mut delete = Entity::delete_many().filter(Column::UserId.eq(user));
    if let Some(keep) = keep {
        delete = delete.filter(Column::TokenDigest.ne(keep.digest()));
    }
    delete.exec(conn).await?;
    Ok(())
}

/// Deletes the devices that were not used for [`LIFETIME`]. Returns how many.
pub async fn sweep(conn: &impl ConnectionTrait, now: OffsetDateTime) -> Result<u64> {
    let old = Column::LastSeenAt.lte(now - LIFETIME);
    Ok(delete_in_batches::<Entity>(conn, old).await?)
}
