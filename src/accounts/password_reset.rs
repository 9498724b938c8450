//! Getting back in: asked for on a page, done from a letter.

use time::OffsetDateTime;

use super::email::Email;
use super::hasher::Hasher;
use super::outbox::{self, Letter};
use super::password::NewPassword;
use super::token::Token;
use super::user::{self, User};
use super::{Asked, Client, Result, reset_token, session};
use crate::db::Db;

/// Asks for a link. One insert, whoever asks: the address is not looked up here, so neither the answer nor
/// its time tells whether it has an account (OWASP, Forgot Password Cheat Sheet).
///
/// # Errors
/// When the database is out of reach.
pub async fn ask(db: &Db, email: &Email, client: &Client, now: OffsetDateTime) -> Result<()> {
    let letter = Letter::ResetPassword { asked: Asked::new(client, now) };
    outbox::insert(db.write(), email.as_str(), client.locale, &letter, now).await
}

/// Makes the link, if the address has an account. The letter goes to the address in the account, not to
/// the one that was typed: two that look the same need not be the same mailbox.
///
/// # Errors
/// When the database is out of reach.
pub async fn issue(db: &Db, email: &Email, now: OffsetDateTime) -> Result<Option<(User, Token)>> {
    let tx = db.begin().await?;
    // The row is locked, so that a reset that ends meanwhile sees this link and kills it.
    let Some(user) = user::by_email_locked(&tx, email).await? else { return Ok(None) };
    let token = reset_token::issue(&tx, &user, now).await?;
    tx.commit().await?;
    Ok(Some((user, token)))
}

/// Takes back a link whose letter certainly did not go out, so that tries at a closed mail server do not push
/// out links that people have.
///
/// # Errors
/// When the database is out of reach.
pub async fn discard(db: &Db, token: &Token) -> Result<()> {
    reset_token::discard(db.write(), token).await
}

/// Whose password this link changes, if it still works. Reads only: mail scanners open links too.
///
/// # Errors
/// When the database is out of reach.
pub async fn holder(db: &Db, token: &Token, now: OffsetDateTime) -> Result<Option<User>> {
    reset_token::holder(db.read(), token, now).await
}

/// Changes the password: true for exactly one caller with this link. Every session of the user ends, every
/// other link dies, and a letter says so.
///
/// # Errors
/// When the database is out of reach or too many passwords are waiting. Nothing has changed then.
pub async fn reset(
    db: &Db,
    hasher: &Hasher,
    (token, new): (&Token, NewPassword),
    client: &Client,
    now: OffsetDateTime,
) -> Result<bool> {
    let Some(user) = reset_token::holder(db.read(), token, now).await? else { return Ok(false) };
    let hashed_password = hasher.hash(new.into_inner()).await?;

    let tx = db.begin().await?;
    if !reset_token::redeem(&tx, token, now).await? {
        return Ok(false);
    }
    user::set_password(&tx, user.id, hashed_password, now).await?;
    // Whoever made the reset necessary may be logged in, or hold a link of their own.
    session::end_all(&tx, user.id, None).await?;
    reset_token::kill_all(&tx, user.id).await?;
    let letter = Letter::PasswordChanged { asked: Asked::new(client, now) };
    outbox::insert(&tx, &user.email, user.letter_locale().unwrap_or(client.locale), &letter, now).await?;
    tx.commit().await?;
    Ok(true)
}
