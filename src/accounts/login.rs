//! Logging in and out.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::authorize::authorization;
use crate::accounts::context::Post;
use crate::accounts::event::{self, EventKind};
use crate::accounts::limit::accounts::{Bucket, Mailed, canonical};
use crate::accounts::limit::clients::Action;
use crate::accounts::limit::{Admission, TooMany};
use crate::accounts::password::Password;
use crate::accounts::password::hasher::Hasher;
use crate::accounts::policy::Lasting;
use crate::accounts::session::{self, Session, SessionKind, device};
use crate::accounts::token::{Token, TokenDigest};
use crate::accounts::user::{self, User};
use crate::accounts::{Accounts, Asked, Client, Fault, Result, new_device};
use crate::db::Transaction;
use crate::keys::Pointer;

/// What a user types to log in.
#[derive(Clone, Debug)]
pub struct Credentials<'a> {
    /// An address or a username.
    pub login: &'a str,
    /// The password.
    pub password: Password,
}

/// The outcome of an attempt to log in.
#[derive(Debug)]
pub enum LogIn {
    /// The user is logged in.
    Succeeded(Box<LoggedIn>),
    /// The login or the password is wrong. The answer tells no more: an unknown user, a wrong password, an empty one and
    /// one that is far too long get the same answer for the same work.
    Failed,
    /// The password is right, but the operator has disabled the account. A client that does not know the password cannot
    /// tell such an account from any other.
    Disabled,
}

/// A session that began or was renewed, and the device token of its browser.
#[derive(Debug)]
pub struct LoggedIn {
    /// The session.
    pub session: Session,
    /// Its user.
    pub user: User,
    /// The browser's device token from now on. A program has none.
    pub device: Option<Token>,
}

/// Logs a user in: starts a session, if the password is the user's.
///
/// # Errors
/// [`Fault::TooMany`] if the password was not looked at.
pub async fn log_in(
    accounts: &Accounts,
    credentials: Credentials<'_>,
    lasting: Lasting,
    client: &Client,
    now: OffsetDateTime,
) -> Result<LogIn> {
    let outcome = admitted(accounts, credentials, lasting, client, now).await;
    let counts = &accounts.metrics.log_ins;
    match outcome {
        Ok(LogIn::Succeeded(_)) => counts.succeeded.inc(),
        Ok(LogIn::Failed | LogIn::Disabled) => counts.failed.inc(),
        Err(Fault::TooMany(_)) => counts.refused.inc(),
        Err(_) => 0, // as `inc` returns a number
    };
    outcome
}

/// Takes one of the client's attempts. It is given back if the password was right or the queue for the hash was full, because
/// an office with one address has many users. It is not given back to a browser that the account knows.
///
/// A browser that the account knows is counted by itself: neighbours behind the same address must not hold it up. A client
/// without a device token is counted before the first statement, so that a flood costs none.
async fn admitted(
    accounts: &Accounts,
    credentials: Credentials<'_>,
    lasting: Lasting,
    client: &Client,
    now: OffsetDateTime,
) -> Result<LogIn> {
    let conn = accounts.db.read();
    let presented = match lasting {
        Lasting::Token => None,
        Lasting::UntilClosed | Lasting::Remembered => client.device.as_ref(),
    };
    if presented.is_none() {
        accounts.admit(Action::LogIn, client, now).await?;
    }
    let device_digest = match (lasting, presented) {
        (Lasting::Token, _) => TokenDigest::of_programs(client.ip, client.via),
        (_, Some(token)) => token.digest(),
        // The same work as for a token that Latchkey has not made.
        (_, None) => Token::random().digest(),
    };
    let (user, device) = device::by_login(conn, credentials.login, &device_digest, now).await?;
    let action = if presented.is_some() && device.is_some() { Action::KnownLogIn } else { Action::LogIn };
    if presented.is_some() {
        accounts.admit(action, client, now).await?;
    }
    let outcome = attempt(accounts, (user, device), credentials, (lasting, client), now).await;
    if action == Action::LogIn && matches!(outcome, Ok(LogIn::Succeeded(_)) | Err(Fault::Busy)) {
        accounts.limits.clients.give_back(action, client);
    }
    outcome
}

/// Takes one of the account's attempts and looks at the password. `device` is the row by which the account knows the browser
/// or the network of the program.
async fn attempt(
    accounts: &Accounts,
    (user, device): (Option<User>, Option<Uuid>),
    Credentials { login, password }: Credentials<'_>,
    (lasting, client): (Lasting, &Client),
    now: OffsetDateTime,
) -> Result<LogIn> {
    let Accounts { db, limits, .. } = accounts;
    let (id, asked) = (user.as_ref().map(|user| user.id), Asked::new(client, now));
    let Attempt { buckets, admission, hasher, key } = take_attempt(accounts, (id, login), device, now).await?;

    let _place = hasher.hold(&key).await?;
    let stored = user.as_ref().map(|user| user.hashed_password.clone());
    let verdict = accounts.compare(&hasher, (password.clone(), stored), &buckets).await?;
    let Some(mut user) = user.filter(|_| verdict.matches) else {
        event::record_failure(accounts, id, admission, &asked).await?;
        return Ok(LogIn::Failed);
    };
    // After the hash and never before it: otherwise the time of the answer would tell a stranger which accounts are
    // disabled.
    if user.is_disabled() {
        // Bounded like the events of strangers: a former user could cause one with each attempt.
        event::record_of_stranger(db.write(), accounts, (EventKind::LogInDisabled, id), &asked).await?;
        return Ok(LogIn::Disabled);
    }
    if verdict.outdated {
        let fresh = hasher.hash(password).await?;
        if !user::renew_hash(db.write(), &user, fresh.clone(), now).await? {
            return Ok(LogIn::Failed);
        }
        user.hashed_password = fresh;
    }
    let tx = db.begin().await?;
    let Some(logged_in) = begin_session(&tx, accounts, &user, (lasting, client), now).await? else {
        return Ok(LogIn::Failed);
    };
    limits.accounts.forgive(&tx, &buckets).await?;
    let mut post = Post::Nothing;
    if device.is_none() {
        let turn = limits.accounts.turn(&tx, Mailed::NewDevice, &user, now).await?;
        post = new_device::tell(&tx, (&user, logged_in.session.id), client, turn, now).await?;
    }
    tx.commit().await?;
    accounts.ring(post);
    Ok(LogIn::Succeeded(Box::new(logged_in)))
}

/// An attempt that was taken.
struct Attempt {
    /// The buckets that it was taken from.
    buckets: Vec<Bucket>,
    admission: Admission,
    /// The line in which it waits.
    hasher: Hasher,
    /// The key with which it shares its places there.
    key: String,
}

/// Takes one of the account's attempts: one of this browser's own if the account knows it, or else one of all strangers'.
/// Strangers also wait for the hash in a line of their own. So their guesses never keep the owner out, or waiting.
async fn take_attempt(
    Accounts { db, hasher, limits, .. }: &Accounts,
    (user, login): (Option<Uuid>, &str),
    device: Option<Uuid>,
    now: OffsetDateTime,
) -> Result<Attempt> {
    if let (Some(device), Some(user)) = (device, user) {
        let own = limits.accounts.device(device);
        let (hasher, key) = (hasher.for_the_known(), user.to_string());
        match limits.accounts.take_own(db, &own, now).await? {
            // After so many failures in a row the browser is a stranger.
            Err(TooMany::Closed) => {}
            admission => return Ok(Attempt { buckets: vec![own], admission: admission?, hasher, key }),
        }
    }
    let strangers = limits.accounts.strangers(user, login);
    let (hasher, key) = (hasher.clone(), canonical(login));
    // The first `?` is for a database out of reach, the second for a refusal.
    let admission = limits.accounts.take(db, &strangers, now).await??;
    Ok(Attempt { buckets: strangers.into(), admission, hasher, key })
}

/// Starts a session, if the user's password is still the one in `user`.
pub(super) async fn begin_session(
    tx: &Transaction,
    accounts: &Accounts,
    user: &User,
    (lasting, client): (Lasting, &Client),
    now: OffsetDateTime,
) -> Result<Option<LoggedIn>> {
    let lifetimes = accounts.policy.lifetimes;
    let Some(session) = session::start(tx, user, (lasting, lifetimes), client, now).await? else { return Ok(None) };
    let device = device::make_known(tx, session.kind, user.id, client, now).await?;
    let kind = if session.kind == SessionKind::Api { EventKind::Token } else { EventKind::LogIn };
    event::record(tx, kind, Some(user.id), &Asked::new(client, now)).await?;
    Ok(Some(LoggedIn { session, user: user.clone(), device }))
}

/// Ends the session. From then on its cookie opens nothing, wherever copies of it are.
pub async fn log_out(accounts: &Accounts, session: &Session, client: &Client, now: OffsetDateTime) -> Result<()> {
    let tx = accounts.db.begin().await?;
    if user::lock(&tx, session.user_id).await?.is_none() {
        return Ok(()); // the session was deleted with its user
    }
    session::end(&tx, session.id).await?;
    event::record(&tx, EventKind::LogOut, Some(session.user_id), &Asked::new(client, now)).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends the session that a browser had before another one began in it. Without its cookie no client could end it. What apps have
/// got goes on in the new session, if it is the same user's: one app that has the user log in again must not log the user out of
/// all others.
pub async fn replace_session(accounts: &Accounts, before: Pointer, by: &Session, now: OffsetDateTime) -> Result<()> {
    if before.user == by.user_id {
        let tx = accounts.db.begin().await?;
        user::lock(&tx, by.user_id).await?;
        if let Some(session) = session::by_id(&tx, before.session).await? {
            // What has expired stays so. And the new session may have ended already.
            if session.expires_at > now && session::is_open(&tx, by.id, now).await? {
                authorization::go_on(&tx, &session, by).await?;
            }
            session::end(&tx, session.id).await?;
        }
        tx.commit().await?;
        return Ok(());
    }
    end_session(accounts, before).await
}

/// Ends the session that a cookie points at.
pub async fn end_session(accounts: &Accounts, pointer: Pointer) -> Result<()> {
    let tx = accounts.db.begin().await?;
    user::lock(&tx, pointer.user).await?; // first, as everywhere
    session::end(&tx, pointer.session).await?;
    tx.commit().await?;
    Ok(())
}
