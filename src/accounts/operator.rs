//! What an operator does by a command on the server, each with its event.

use time::OffsetDateTime;

use super::event::{self, Kind};
use super::token::Token;
use super::user::{self, User};
use super::{Asked, Result, outbox, pending_signup, reset_token};
use crate::db::Db;

/// Makes a reset link, which the operator hands to the user. Returns `None` if the user was deleted a moment ago.
///
/// # Errors
/// When the database is out of reach.
pub async fn reset_link(db: &Db, user: &User, now: OffsetDateTime) -> Result<Option<Token>> {
    let tx = db.begin().await?;
    // The row is locked, so that a reset that ends meanwhile sees this link and kills it.
    let Some(user) = user::lock(&tx, user.id).await? else { return Ok(None) };
    let token = reset_token::issue(&tx, &user, now).await?;
    event::record(&tx, Kind::ResetLinkMade, Some(user.id), &Asked::of_a_command(now)).await?;
    tx.commit().await?;
    Ok(Some(token))
}

/// Deletes a user with all sessions, links and events, and every letter to the user's address and sign-up with it.
///
/// # Errors
/// When the database is out of reach.
pub async fn delete(db: &Db, user: &User, now: OffsetDateTime) -> Result<()> {
    let tx = db.begin().await?;
    user::delete(&tx, user.id).await?;
    outbox::forget(&tx, &user.email_canonical).await?;
    pending_signup::delete_all(&tx, &user.email_canonical).await?;
    event::record_deleted(&tx, user.id, &Asked::of_a_command(now)).await?;
    tx.commit().await?;
    Ok(())
}

/// Notes that the secret was changed.
///
/// # Errors
/// When the database is out of reach.
pub async fn note_keys(db: &Db, kind: Kind, now: OffsetDateTime) -> Result<()> {
    event::record(db.write(), kind, None, &Asked::of_a_command(now)).await
}
