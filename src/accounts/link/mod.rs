//! Links in emails: a table for each kind, and what they share.
//!
//! The token of a link is in the email only; its row has the digest. Looking at a link never uses it, because mail scanners
//! open links too. One guarded statement uses it, so that of many requests at once exactly one succeeds.

pub mod not_me_link;
pub mod pending_signup;
pub mod reset_token;

use sea_orm::entity::prelude::*;
use time::OffsetDateTime;

use crate::accounts::Result;
use crate::accounts::token::{Token, TokenDigest};
use crate::accounts::user::{self, User};

/// A table of links that belong to a user.
pub(super) trait LinkTable: EntityTrait + Related<user::Entity> {
    const TOKEN_DIGEST: Self::Column;
    const EXPIRES_AT: Self::Column;
    const USED_AT: Self::Column;

    /// Returns the canonical address that the link was sent to.
    fn email_at_issue(link: &Self::Model) -> &str;
}

/// Returns the link of this token and its user, or `None` if it has expired, was sent to an address that the account has no
/// more, or the account is disabled. A used link is returned too. Reads only.
async fn find<L: LinkTable>(
    conn: &impl ConnectionTrait,
    token: &Token,
    now: OffsetDateTime,
) -> Result<Option<(L::Model, User)>> {
    let alive = L::find().filter(L::TOKEN_DIGEST.eq(token.digest())).filter(L::EXPIRES_AT.gt(now));
    let found = alive.find_also_related(user::Entity).one(conn).await?;
    let found = found.and_then(|(link, user)| Some((link, user?)));
    Ok(found.filter(|(link, user)| user.owns_link_to(L::email_at_issue(link))))
}

/// Uses the link of this token. Returns `true` for exactly one caller, however many call at once.
///
/// This is one guarded UPDATE, not a read and then a write: between the two, a second request with the same link would
/// pass the read as well.
pub(super) async fn redeem<L: LinkTable>(
    conn: &impl ConnectionTrait,
    digest: &TokenDigest,
    now: OffsetDateTime,
) -> Result<bool> {
    let update = L::update_many().col_expr(L::USED_AT, Expr::value(now)).filter(L::TOKEN_DIGEST.eq(digest.clone()));
    let unused = update.filter(L::USED_AT.is_null()).filter(L::EXPIRES_AT.gt(now));
    Ok(unused.exec(conn).await?.rows_affected == 1)
}

/// Deletes the link of a letter that certainly was not sent.
pub(super) async fn discard<L: LinkTable>(conn: &impl ConnectionTrait, token: &Token) -> Result<()> {
    L::delete_many().filter(L::TOKEN_DIGEST.eq(token.digest())).exec(conn).await?;
    Ok(())
}
