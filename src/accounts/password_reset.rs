//! Getting back in: asked for on a page, done from a letter.

use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use super::email::Email;
use super::event::{self, Kind};
use super::limit::Limits;
use super::outbox::{self, Letter};
use super::password::NewPassword;
use super::token::Token;
use super::user::{self, User};
use super::{Accounts, Asked, Client, Result, device, reset_token, session};
use crate::db::Db;

/// What the letters are counted as.
const LETTER: &str = "reset-letter";

/// Asks for a link. One insert, whoever asks: the address is not looked up here, so neither the answer nor
/// its time tells whether it has an account (OWASP, Forgot Password Cheat Sheet). Of many asked for in a row only
/// some are written, and the answer is the same.
///
/// # Errors
/// When the database is out of reach.
pub async fn ask(accounts: &Accounts, email: &Email, client: &Client, now: OffsetDateTime) -> Result<()> {
    let Accounts { db, limits, metrics, .. } = accounts;
    metrics.resets.asked.inc();
    if limits.take(db, &limits.letters(LETTER, email), now).await?.is_ok() {
        let letter = Letter::ResetPassword { asked: Asked::new(client, now) };
        outbox::insert(db.write(), email.as_str(), client.locale, &letter, now).await?;
    }
    Ok(())
}

/// Returns whether the account of this address knows the browser that asks. The site's limit on letters is for strangers.
///
/// The work depends on the browser only, not on the address, so it does not tell who has an account.
///
/// # Errors
/// When the database is out of reach.
pub async fn knows(db: &Db, email: &Email, client: &Client, now: OffsetDateTime) -> Result<bool> {
    let Some(device) = &client.device else { return Ok(false) };
    let addresses = device::addresses(db.read(), &device.digest(), now).await?;
    Ok(addresses.iter().any(|address| address == email.canonical()))
}

/// Makes the bucket of the account's letters whole, when the links that went out are dead and their owner may need
/// another, or has proven to read them.
pub(super) async fn allow_letters(conn: &impl ConnectionTrait, limits: &Limits, user: &User) -> Result<()> {
    match Email::parse(&user.email) {
        Ok(email) => limits.clear(conn, &limits.letters(LETTER, &email)).await,
        Err(_) => Ok(()),
    }
}

/// Makes the link, if the address has an account. The letter goes to the address in the account, not to
/// the one that was typed: two that look the same need not be the same mailbox. Only here is it known whose account
/// it is that was `asked` for.
///
/// # Errors
/// When the database is out of reach.
pub async fn issue(
    Accounts { db, limits, metrics, .. }: &Accounts,
    email: &Email,
    asked: Option<&Asked>,
    now: OffsetDateTime,
) -> Result<Option<(User, Token)>> {
    let tx = db.begin().await?;
    // The row is locked, so that a reset that ends meanwhile sees this link and kills it.
    let Some(user) = user::by_email_locked(&tx, email).await? else { return Ok(None) };
    let token = reset_token::issue(&tx, &user, now).await?;
    if let Some(asked) = asked {
        let what = (Kind::ResetAsked, Some(user.id));
        event::record_of_stranger(&tx, (limits, metrics), what, asked).await?;
    }
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

/// Changes the password, for exactly one caller with this link. Every session of the user ends, every other link dies,
/// and a letter says so. No browser is known any more but this one, whose new name is returned: strangers who go on
/// guessing must not be in the way of the first log-in.
///
/// # Errors
/// When the database is out of reach or too many passwords are waiting. Nothing has changed then.
pub async fn reset(
    accounts: &Accounts,
    (token, new): (&Token, NewPassword),
    client: &Client,
    now: OffsetDateTime,
) -> Result<Option<Token>> {
    let Accounts { db, hasher, limits, metrics } = accounts;
    let Some(user) = reset_token::holder(db.read(), token, now).await? else { return Ok(None) };
    let hashed_password = hasher.hash(new.into_inner()).await?;

    let tx = db.begin().await?;
    if !reset_token::redeem(&tx, token, now).await? {
        return Ok(None);
    }
    user::set_password(&tx, user.id, hashed_password, now).await?;
    // Whoever made the reset necessary may be logged in, or hold a link of their own.
    session::end_all(&tx, user.id, None).await?;
    reset_token::kill_all(&tx, user.id).await?;
    device::forget_all(&tx, user.id, None).await?;
    let device = device::rename(&tx, client.device.as_ref()).await?;
    device::remember(&tx, &device.digest(), user.id, now).await?;
    limits.clear_strangers(&tx, user.id).await?;
    allow_letters(&tx, limits, &user).await?;
    let asked = Asked::new(client, now);
    event::record(&tx, Kind::ResetDone, Some(user.id), &asked).await?;
    let letter = Letter::PasswordChanged { asked };
    outbox::insert(&tx, &user.email, user.letter_locale().unwrap_or(client.locale), &letter, now).await?;
    tx.commit().await?;
    metrics.resets.done.inc();
    Ok(Some(device))
}
