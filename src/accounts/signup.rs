//! Creating an account: asked for on a page, confirmed from a letter.

use sea_orm::ConnectionTrait;
use time::OffsetDateTime;
use uuid::Uuid;

use super::email::Email;
use super::event::{self, Kind};
use super::login::{self, LoggedIn};
use super::outbox::{self, Letter};
use super::password::{HashedPassword, NewPassword};
use super::pending_signup::{self, PendingSignup};
use super::session::Lasting;
use super::token::Token;
use super::user::{self, Taken, User};
use super::username::{FullName, Username};
use super::{Accounts, Asked, Client, Result};
use crate::chance;
use crate::db::Db;

/// What a person fills in.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Where the letter goes.
    pub email: Email,
    /// To log in with.
    pub username: Username,
    /// May be empty.
    pub full_name: FullName,
    /// Good enough already.
    pub password: NewPassword,
}

/// Asks for an account: a pending row and a letter, whoever has the address. Whether it has an account
/// already is said in the letter only, so the page tells nobody. Usernames are public, and a taken one is
/// answered at once: `None`.
///
/// # Errors
/// When the database is out of reach or too many passwords are waiting.
pub async fn ask(
    accounts: &Accounts,
    new: NewAccount,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Option<PendingSignup>> {
    let Accounts { db, hasher, .. } = accounts;
    if user::by_username(db.read(), &new.username).await?.is_some() {
        return Ok(None);
    }
    let hashed_password = hasher.hash(new.password.into_inner()).await?;
    let pending = PendingSignup {
        id: chance::id(),
        token_digest: None,
        email: new.email.as_str().to_owned(),
        email_canonical: new.email.canonical().to_owned(),
        username: new.username.as_str().to_owned(),
        username_canonical: new.username.canonical().to_owned(),
        full_name: new.full_name.as_str().to_owned(),
        hashed_password,
        created_at: now,
        expires_at: now + pending_signup::LIFETIME,
    };
    let may_send = may_send(accounts, &new.email, client, now).await?;
    let tx = db.begin().await?;
    let pending = pending_signup::insert(&tx, pending).await?;
    if may_send {
        send(&tx, &pending, client, now).await?;
    }
    tx.commit().await?;
    Ok(Some(pending))
}

/// Whether this address gets one more letter for now. The answer on the page is the same.
async fn may_send(
    Accounts { db, limits, .. }: &Accounts,
    to: &Email,
    client: &Client,
    now: OffsetDateTime,
) -> Result<bool> {
    for bucket in limits.signup_letters(to, client) {
        if limits.take(db, &bucket, now).await?.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn send(
    conn: &impl ConnectionTrait,
    pending: &PendingSignup,
    client: &Client,
    now: OffsetDateTime,
) -> Result<()> {
    let letter = Letter::Signup { pending: pending.id, asked: Asked::new(client, now) };
    outbox::insert(conn, &pending.email, client.locale, &letter, now).await
}

/// Sends the letter once more, if the pending row is still there.
///
/// # Errors
/// When the database is out of reach.
pub async fn ask_again(accounts: &Accounts, pending: Uuid, client: &Client, now: OffsetDateTime) -> Result<()> {
    let db = &accounts.db;
    if let Some(pending) = pending_signup::find(db.read(), pending, now).await?
        && let Ok(email) = Email::parse(&pending.email)
        && may_send(accounts, &email, client, now).await?
    {
        send(db.write(), &pending, client, now).await?;
    }
    Ok(())
}

/// What the letter says, made when it is sent.
#[derive(Debug)]
pub enum Mailed {
    /// The link to the page with the button.
    Link(Token),
    /// The address has an account: the letter goes there, to the address in it.
    HasAccount(Box<User>),
    /// It was confirmed or has expired meanwhile.
    Nothing,
}

/// Makes the link for a letter that is about to go out.
///
/// # Errors
/// When the database is out of reach.
pub async fn issue(db: &Db, pending: Uuid, now: OffsetDateTime) -> Result<Mailed> {
    let Some(pending) = pending_signup::find(db.read(), pending, now).await? else { return Ok(Mailed::Nothing) };
    let email = Email::parse(&pending.email).ok();
    if let Some(email) = email
        && let Some(user) = user::by_email(db.read(), &email).await?
    {
        return Ok(Mailed::HasAccount(Box::new(user)));
    }
    Ok(Mailed::Link(pending_signup::issue(db.write(), pending, now).await?))
}

/// The account that this link would create, if the link still works. Reads only.
///
/// # Errors
/// When the database is out of reach.
pub async fn pending(db: &Db, token: &Token, now: OffsetDateTime) -> Result<Option<PendingSignup>> {
    pending_signup::by_token(db.read(), token, now).await
}

/// Whether this is the sign-up that a browser began with the row `began`, or a twin of it.
///
/// Two people may sign up with one address, each with a password of their own. Whoever reads that mailbox may
/// press the button of either letter; logging them in with the other's password behind it would hand the
/// account over. The salted hash is the same in twins, and in nothing else.
///
/// # Errors
/// When the database is out of reach.
pub async fn began_with(db: &Db, began: Uuid, pending: &PendingSignup, now: OffsetDateTime) -> Result<bool> {
    let began = pending_signup::find(db.read(), began, now).await?;
    Ok(began.is_some_and(|began| began.hashed_password == pending.hashed_password))
}

/// What pressing the button came to.
#[derive(Debug)]
pub enum Confirmed {
    /// There is an account now.
    Created(Box<User>),
    /// Somebody took the username meanwhile; the link still works with another one.
    UsernameTaken,
    /// The link was used, has expired, or its address has an account by now.
    Gone,
}

/// Creates the account that the link stands for, under another username if one is given, with the
/// language that was chosen if one was.
///
/// # Errors
/// When the database is out of reach.
pub async fn confirm(
    db: &Db,
    token: &Token,
    other: Option<Username>,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Confirmed> {
    let Some(pending) = pending_signup::by_token(db.read(), token, now).await? else { return Ok(Confirmed::Gone) };
    let (username, username_canonical) = match other {
        Some(name) => (name.as_str().to_owned(), name.canonical().to_owned()),
        None => (pending.username, pending.username_canonical),
    };
    let user = User {
        id: chance::id(),
        email: pending.email,
        email_canonical: pending.email_canonical,
        username,
        username_canonical,
        full_name: pending.full_name,
        hashed_password: pending.hashed_password,
        created_at: now,
        updated_at: now,
        locale: client.chosen.map(|locale| locale.tag().to_owned()),
        first_locale: Some(client.locale.tag().to_owned()),
        password_changed_at: None,
    };
    let tx = db.begin().await?;
    if !pending_signup::redeem(&tx, token, now).await? {
        return Ok(Confirmed::Gone);
    }
    match user::insert(&tx, user).await? {
        Ok(user) => {
            // Links of other tries with this address die with it, and the passwords planted in them.
            pending_signup::delete_all(&tx, &user.email_canonical).await?;
            event::record(&tx, Kind::SignUp, Some(user.id), &Asked::new(client, now)).await?;
            tx.commit().await?;
            Ok(Confirmed::Created(Box::new(user)))
        }
        Err(Taken::Username) => Ok(Confirmed::UsernameTaken), // rolled back: the link stays
        Err(Taken::Email) => Ok(Confirmed::Gone),
    }
}

/// Creates an account at once, for sites that do not ask for confirmation.
///
/// # Errors
/// When the database is out of reach or too many passwords are waiting.
pub async fn open(
    accounts: &Accounts,
    new: NewAccount,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Result<User, Taken>> {
    let Accounts { db, hasher, .. } = accounts;
    // A look first spares the hash; the unique columns judge in the end.
    if user::by_username(db.read(), &new.username).await?.is_some() {
        return Ok(Err(Taken::Username));
    }
    if user::by_email(db.read(), &new.email).await?.is_some() {
        return Ok(Err(Taken::Email));
    }
    let hashed_password: HashedPassword = hasher.hash(new.password.into_inner()).await?;
    let user = User {
        id: chance::id(),
        email: new.email.as_str().to_owned(),
        email_canonical: new.email.canonical().to_owned(),
        username: new.username.as_str().to_owned(),
        username_canonical: new.username.canonical().to_owned(),
        full_name: new.full_name.as_str().to_owned(),
        hashed_password,
        created_at: now,
        updated_at: now,
        locale: client.chosen.map(|locale| locale.tag().to_owned()),
        first_locale: Some(client.locale.tag().to_owned()),
        password_changed_at: None,
    };
    let tx = db.begin().await?;
    let inserted = user::insert(&tx, user).await?;
    if let Ok(user) = &inserted {
        event::record(&tx, Kind::SignUp, Some(user.id), &Asked::new(client, now)).await?;
        tx.commit().await?;
    }
    Ok(inserted)
}

/// Logs a person in who has just proven to be the new user: the button was pressed in the browser that
/// began, or the site asks for no proof.
///
/// # Errors
/// When the database is out of reach.
pub async fn log_in(
    accounts: &Accounts,
    user: &User,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Option<LoggedIn>> {
    let tx = accounts.db.begin().await?;
    let lasting = Lasting::UntilClosed(accounts.lifetimes.until_closed);
    let logged_in = login::begin(&tx, user, lasting, client, now).await?;
    tx.commit().await?;
    Ok(logged_in)
}
