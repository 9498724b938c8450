//! A forgotten password: the user asks for a link, and chooses a new password by it.

use time::OffsetDateTime;

use crate::accounts::event::{self, EventKind};
use crate::accounts::limit::accounts::Mailed;
use crate::accounts::limit::clients::Action;
use crate::accounts::link::{self, reset_token};
use crate::accounts::outbox::letter::Letter;
use crate::accounts::password::PasswordError;
use crate::accounts::replace_password::{Proof, Replaced, replace};
use crate::accounts::session::{SessionKind, device};
use crate::accounts::token::Token;
use crate::accounts::user::email::{Email, EmailError};
use crate::accounts::user::{self, User};
use crate::accounts::{Accounts, Asked, Client, Result, outbox};
use crate::db::Db;

/// Asks for a link to a new password, to an address as it was typed. A text that is no address costs an attempt too, and so
/// does a request for a letter that was `sent_just_now`, which is not sent again.
///
/// The address is not looked up here: whatever it is, one row is inserted. So neither the answer nor its time tells whether
/// it has an account (OWASP, Forgot Password Cheat Sheet). Of many requests in a row only some are written, and the
/// answer is the same.
pub async fn ask(
    accounts: &Accounts,
    (typed, sent_just_now): (&str, bool),
    client: &Client,
    now: OffsetDateTime,
) -> Result<Result<Email, EmailError>> {
    let Accounts { db, limits, metrics, .. } = accounts;
    let email = Email::parse(typed);
    let known = match &email {
        Ok(email) => knows(db, email, client, now).await?,
        Err(_) => false,
    };
    accounts.admit(if known { Action::OwnLetter } else { Action::Letter }, client, now).await?;
    if let Ok(email) = &email
        && !sent_just_now
    {
        metrics.resets.asked.inc();
        if limits.accounts.take(db, &limits.accounts.letters(Mailed::Reset, &email.canonical()), now).await?.is_ok() {
            let letter = Letter::ResetPassword { asked: Asked::new(client, now) };
            let post = outbox::insert(db.write(), (email, client.locale), &letter, now).await?;
            accounts.ring(post);
        }
    }
    Ok(email)
}

/// Returns whether the account of this address knows the browser that asks. The site's limit on letters is for strangers.
///
/// The work depends on the browser only, not on the address, so it does not tell who has an account.
async fn knows(db: &Db, email: &Email, client: &Client, now: OffsetDateTime) -> Result<bool> {
    let Some(device) = &client.device else { return Ok(false) };
    let addresses = device::addresses(db.read(), &device.digest(), now).await?;
    Ok(addresses.contains(&email.canonical()))
}

/// Makes the link, if the address has an account that is not disabled. The letter goes to the address in the account, not
/// to the one that was typed: two addresses that look the same need not be the same mailbox. Only here is it known whose
/// account the event of the client that `asked` is about.
pub async fn issue(
    accounts: &Accounts,
    email: &Email,
    asked: Option<&Asked>,
    now: OffsetDateTime,
) -> Result<Option<(User, Token)>> {
    let tx = accounts.db.begin().await?;
    // The row is locked, so that a reset that ends meanwhile sees this link and deletes it.
    let user = user::by_email_locked(&tx, email).await?;
    let Some(user) = user.filter(|user| !user.is_disabled()) else { return Ok(None) };
    let token = reset_token::issue(&tx, &user, now).await?;
    if let Some(asked) = asked {
        event::record_of_stranger(&tx, accounts, (EventKind::ResetAsked, Some(user.id)), asked).await?;
    }
    tx.commit().await?;
    Ok(Some((user, token)))
}

/// Deletes the link of a letter that certainly was not sent, so that attempts at a closed mail server do not push out links
/// that users have.
pub async fn discard(db: &Db, token: &Token) -> Result<()> {
    link::discard::<reset_token::Entity>(db.write(), token).await
}

/// Returns the user whose password this link changes, if the link still works. Reads only: mail scanners open links too.
pub async fn holder(db: &Db, token: &Token, now: OffsetDateTime) -> Result<Option<User>> {
    reset_token::holder(db.read(), token, now).await
}

/// The outcome of a reset.
#[derive(Debug)]
pub enum Reset {
    /// The password is replaced.
    Done {
        /// Whose password it is.
        user: Box<User>,
        /// The browser's device token. A program has none.
        device: Option<Token>,
    },
    /// The new password is not accepted. The link still works.
    Invalid(Box<User>, PasswordError),
    /// The link was used, has expired, or never was one.
    Gone,
}

/// Chooses a new password by a link, for exactly one caller with this link.
///
/// # Errors
/// [`Fault::TooMany`](super::Fault::TooMany) when the client has no attempt left. Nothing has changed then.
pub async fn reset(
    accounts: &Accounts,
    (token, typed): (Option<&Token>, &str),
    by: SessionKind,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Reset> {
    let Accounts { db, hasher, metrics, .. } = accounts;
    accounts.admit(Action::Link, client, now).await?;
    let Some(token) = token else { return Ok(Reset::Gone) };
    let Some(user) = holder(db, token, now).await? else { return Ok(Reset::Gone) };
    // A user who has the link reads the owner's email, and does not wait behind strangers.
    let hasher = hasher.for_the_known();
    let new = match accounts.judge(&hasher, typed, user.about()).await? {
        Ok(new) => new.into_inner(),
        Err(why) => return Ok(Reset::Invalid(Box::new(user), why)),
    };
    // A password that an attacker may know must not come back. A thief of the mailbox cannot find out the old password in
    // this way: a wrong guess resets it, and uses the link. Of many guesses at once two are hashed at a time, and those
    // behind them find the link used.
    let _place = hasher.hold(&user.id.to_string()).await?;
    let Some(user) = holder(db, token, now).await? else { return Ok(Reset::Gone) };
    if user.has_password() && hasher.verify(new.clone(), Some(user.hashed_password.clone())).await?.matches {
        return Ok(Reset::Invalid(Box::new(user), PasswordError::Same));
    }
    let hashed_password = hasher.hash(new).await?;

    let tx = db.begin().await?;
    let by_link = (&user, Proof::Link(token, by), hashed_password);
    let Replaced::Done { device, post, .. } = replace(&tx, accounts, by_link, client, now).await? else {
        return Ok(Reset::Gone);
    };
    tx.commit().await?;
    accounts.ring(post);
    metrics.resets.done.inc();
    Ok(Reset::Done { user: Box::new(user), device })
}
