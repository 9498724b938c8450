//! The emailed link of a sign-up: it is made when the letter is sent, and used when the user confirms the address.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{SignupProblem, log_in};
use crate::accounts::event::{self, EventKind};
use crate::accounts::limit::clients::Action;
use crate::accounts::link::pending_signup::{self, PendingSignup};
use crate::accounts::login::LoggedIn;
use crate::accounts::session::{SessionKind, device};
use crate::accounts::token::Token;
use crate::accounts::user::username::Username;
use crate::accounts::user::{self, NewUser, Taken, User};
use crate::accounts::{Accounts, Asked, Client, Result};
use crate::config::Signup;
use crate::db::Db;

/// The content of the letter, made when it is sent.
#[derive(Debug)]
pub enum SignupLetter {
    /// The link to the page with the button.
    Link(Token),
    /// The address has an account. The letter goes to the address in it.
    HasAccount(Box<User>),
    /// The sign-up was confirmed or has expired meanwhile.
    Nothing,
}

/// Makes the link for a letter that is about to be sent.
pub async fn issue(db: &Db, pending: Uuid, now: OffsetDateTime) -> Result<SignupLetter> {
    let Some(pending) = pending_signup::find(db.read(), pending, now).await? else { return Ok(SignupLetter::Nothing) };
    if let Some(user) = user::by_email(db.read(), &pending.email).await? {
        return Ok(SignupLetter::HasAccount(Box::new(user)));
    }
    Ok(SignupLetter::Link(pending_signup::issue(db.write(), pending, now).await?))
}

/// A sign-up whose link was opened.
#[derive(Clone, Debug)]
pub struct OpenedSignup {
    /// The account that the link would create.
    pub pending: PendingSignup,
    /// Whether it was opened in the browser that began the sign-up.
    pub began_here: bool,
}

/// Returns the sign-up that this link belongs to, if the link still works. `began` is the pending row that this browser
/// began a sign-up with, if it has begun one. Reads only.
pub async fn opened(db: &Db, token: &Token, began: Option<Uuid>, now: OffsetDateTime) -> Result<Option<OpenedSignup>> {
    let Some(pending) = pending_signup::by_token(db.read(), token, now).await? else { return Ok(None) };
    let began = match began {
        Some(began) => pending_signup::find(db.read(), began, now).await?,
        None => None,
    };
    // A letter that was sent twice has two rows, and only these two have the same salted hash.
    let began_here = began.is_some_and(|began| began.hashed_password == pending.hashed_password);
    Ok(Some(OpenedSignup { pending, began_here }))
}

/// What a user confirms, and what the user chooses beside it.
#[derive(Clone, Copy, Debug)]
pub struct Confirmation<'a> {
    /// The token of the link, if this browser has opened one.
    pub token: Option<&'a Token>,
    /// The pending row that this browser began a sign-up with, if any.
    pub began: Option<Uuid>,
    /// Another username, if the one of the sign-up is taken by now.
    pub username: Option<&'a str>,
    /// The password, which counts in a browser that did not begin the sign-up.
    pub password: &'a str,
}

/// The outcome of a confirmation.
#[derive(Debug)]
pub enum Confirmed {
    /// There is an account now, and this browser is logged in to it, because it began the sign-up.
    LoggedIn(Box<LoggedIn>),
    /// There is an account now, and this browser, which did not begin the sign-up, has this device token.
    Created(Box<User>, Option<Token>),
    /// There is something wrong with these fields. The link still works.
    Invalid(Box<OpenedSignup>, Vec<SignupProblem>),
    /// The username was taken meanwhile. The link still works with another one.
    UsernameTaken(Box<OpenedSignup>),
    /// The link was used, has expired, or its address has an account by now.
    Gone,
    /// The site accepts no sign-ups.
    Closed,
}

/// Creates the account that the link stands for.
///
/// An attacker can sign up with an address that is not theirs, and a password that they know. The owner of the
/// address may well press the button in that letter. So the password of the sign-up is used only in the browser that
/// began it. In any other browser the user chooses one, and is not logged in: a forwarded link must not put a user into an
/// account of the sender's (log-in CSRF).
pub async fn confirm(
    accounts: &Accounts,
    confirmation: Confirmation<'_>,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Confirmed> {
    let Accounts { db, hasher, policy, .. } = accounts;
    if policy.signup == Signup::Closed {
        return Ok(Confirmed::Closed);
    }
    accounts.admit(Action::Link, client, now).await?;
    let Confirmation { token, began, username, password } = confirmation;
    let Some(token) = token else { return Ok(Confirmed::Gone) };
    let Some(opened) = opened(db, token, began, now).await? else { return Ok(Confirmed::Gone) };
    let pending = &opened.pending;
    // A user who has the link reads the email of that address, and does not wait behind strangers.
    let hasher = hasher.for_the_known();
    let mut problems = vec![];
    let name = match username {
        Some(typed) => Username::choose(typed, &policy.password.site_name),
        None => Ok(Username::stored(pending.username.clone(), pending.username_canonical.clone())),
    };
    problems.extend(name.as_ref().err().copied().map(SignupProblem::Username));
    let chosen = if opened.began_here {
        None
    } else {
        let about = [pending.email.as_str(), username.unwrap_or(&pending.username), &pending.full_name];
        let judged = accounts.judge(&hasher, password, about).await?;
        problems.extend(judged.as_ref().err().copied().map(SignupProblem::Password));
        judged.ok()
    };
    let (Ok(name), true) = (name, problems.is_empty()) else {
        return Ok(Confirmed::Invalid(Box::new(opened), problems));
    };
    let hashed_password = match chosen {
        Some(chosen) => hasher.hash(chosen.into_inner()).await?,
        None => pending.hashed_password.clone(),
    };
    let new = NewUser {
        email: pending.email.clone(),
        username: name,
        full_name: pending.full_name.clone(),
        hashed_password,
        locale: client.chosen,
        first_locale: client.locale,
        email_is_proven: true,
    };
    redeem(accounts, (opened, token), new, client, now).await
}

/// Uses the link and creates the account, in one transaction.
async fn redeem(
    accounts: &Accounts,
    (opened, token): (OpenedSignup, &Token),
    new: NewUser,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Confirmed> {
    let tx = accounts.db.begin().await?;
    pending_signup::lock_all(&tx, &opened.pending.email_canonical).await?;
    if !pending_signup::redeem(&tx, token, now).await? {
        return Ok(Confirmed::Gone);
    }
    let user = match user::insert(&tx, new, now).await? {
        Ok(user) => user,
        Err(Taken::Username) => return Ok(Confirmed::UsernameTaken(Box::new(opened))), // rolled back: the link stays
        Err(Taken::Email) => return Ok(Confirmed::Gone),
    };
    // Links of other sign-ups with this address are deleted with it, and the passwords that were planted in them.
    pending_signup::delete_all(&tx, &user.email_canonical).await?;
    event::record(&tx, EventKind::SignUp, Some(user.id), &Asked::new(client, now)).await?;
    if !opened.began_here {
        let device = device::make_known(&tx, SessionKind::Browser, user.id, client, now).await?;
        tx.commit().await?;
        return Ok(Confirmed::Created(Box::new(user), device));
    }
    tx.commit().await?;
    let logged_in = log_in(accounts, &user, client, now).await?;
    Ok(match logged_in {
        Some(logged_in) => Confirmed::LoggedIn(logged_in),
        None => Confirmed::Created(Box::new(user), None),
    })
}
