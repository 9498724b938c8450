//! Getting back in: asked for on a page, done from a letter.

use time::OffsetDateTime;

use crate::accounts::event::{self, Kind};
use crate::accounts::limit::Mailed;
use crate::accounts::link::reset_token;
use crate::accounts::outbox::letter::Letter;
use crate::accounts::password::NewPassword;
use crate::accounts::session::{self, device};
use crate::accounts::token::Token;
use crate::accounts::user::email::Email;
use crate::accounts::user::{self, User};
use crate::accounts::{Accounts, Asked, Client, Result, outbox};
use crate::db::Db;

/// Asks for a link. One insert, whoever asks: the address is not looked up here, so neither the answer nor
/// its time tells whether it has an account (OWASP, Forgot Password Cheat Sheet). Of many asked for in a row only
/// some are written, and the answer is the same.
///
/// # Errors
/// When the database is out of reach.
pub async fn ask(accounts: &Accounts, email: &Email, client: &Client, now: OffsetDateTime) -> Result<()> {
    let Accounts { db, limits, metrics, .. } = accounts;
    metrics.resets.asked.inc();
    if limits.take(db, &limits.letters(Mailed::Reset, email.canonical()), now).await?.is_ok() {
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

/// Makes the link, if the address has an account which is not disabled. The letter goes to the address in the account, not to
/// the one that was typed: two that look the same need not be the same mailbox. Only here is it known whose account
/// the event of those who `asked` is about.
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
    let user = user::by_email_locked(&tx, email).await?;
    let Some(user) = user.filter(|user| !user.is_disabled()) else { return Ok(None) };
    let token = reset_token::issue(&tx, &user, now).await?;
    if let Some(asked) = asked {
        event::record_of_stranger(&tx, (limits, metrics), (Kind::ResetAsked, Some(user.id)), asked).await?;
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

/// What came of choosing a new password by a link.
#[derive(Debug)]
pub enum Reset {
    /// It is changed. A browser gets this device token; a program is known by its network.
    Done(Option<Token>),
    /// The link was used, has expired, or never was.
    Gone,
    /// The new password is the one that the account has. Nothing has changed, and the link still works.
    SamePassword,
}

/// Changes the password, for exactly one caller with this link. Every session of the user ends, every other link dies,
/// and a letter says so. Every bucket of the account is refilled. No device is known any more but the browser or program
/// that did it: strangers who go on guessing must not be in the way of the first log-in.
///
/// # Errors
/// When the database is out of reach or too many passwords are waiting. Nothing has changed then.
pub async fn reset(
    accounts: &Accounts,
    (token, new): (&Token, NewPassword),
    by: session::Kind,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Reset> {
    let Accounts { db, hasher, limits, metrics, .. } = accounts;
    let Some(user) = reset_token::holder(db.read(), token, now).await? else { return Ok(Reset::Gone) };
    // Who has the link reads the owner's email, and does not wait behind strangers.
    let (hasher, new) = (hasher.for_the_known(), new.into_inner());
    // A password that an attacker may know must not come back. A thief of the mailbox cannot find out the old password this
    // way: a wrong guess resets it, and uses up the link. Many guesses at once wait here for two at a time, and those
    // behind them find the link used.
    let _one_of_two = hasher.hold(&user.id.to_string()).await?;
    let Some(user) = reset_token::holder(db.read(), token, now).await? else { return Ok(Reset::Gone) };
    if user.has_password() && hasher.verify(new.clone(), Some(user.hashed_password.clone())).await?.matches {
        return Ok(Reset::SamePassword);
    }
    let hashed_password = hasher.hash(new).await?;

    let tx = db.begin().await?;
    if !reset_token::redeem(&tx, token, now).await? {
        return Ok(Reset::Gone);
    }
    // The password took 20 ms to hash. An account that was disabled meanwhile stays closed.
    if user::lock(&tx, user.id).await?.is_none_or(|user| user.is_disabled()) {
        return Ok(Reset::Gone);
    }
    user::set_password(&tx, user.id, hashed_password, now).await?;
    // Whoever made the reset necessary may be logged in, or hold a link of their own.
    session::end_all(&tx, user.id, now).await?;
    reset_token::kill_all(&tx, user.id).await?;
    device::forget_all(&tx, user.id, None).await?;
    let device = device::recognise(&tx, by, user.id, client, now).await?;
    limits.allow_all(&tx, &user).await?;
    let asked = Asked::new(client, now);
    event::record(&tx, Kind::ResetDone, Some(user.id), &asked).await?;
    let letter = Letter::PasswordChanged { asked };
    outbox::insert(&tx, &user.email, user.letter_locale().unwrap_or(client.locale), &letter, now).await?;
    tx.commit().await?;
    metrics.resets.done.inc();
    Ok(Reset::Done(device))
}
