//! Creating an account: asked for on a page, confirmed from a letter.

use sea_orm::ConnectionTrait;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::event::{self, Kind};
use crate::accounts::link::pending_signup::{self, PendingSignup};
use crate::accounts::login::{self, LoggedIn};
use crate::accounts::outbox::letter::Letter;
use crate::accounts::password::{HashedPassword, NewPassword};
use crate::accounts::session::{self, Lasting, device};
use crate::accounts::token::Token;
use crate::accounts::user::email::Email;
use crate::accounts::user::username::{FullName, Username};
use crate::accounts::user::{self, Taken, User};
use crate::accounts::{Accounts, Asked, Client, Result, outbox};
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

/// Returns the names that are taken already, so that a form with several mistakes hears of all of them. Whether an
/// address has an account is told on sites with open sign-up only, whose answer tells it anyway.
///
/// # Errors
/// When the database is out of reach.
pub async fn taken(db: &Db, email: Option<&Email>, username: Option<&Username>) -> Result<Vec<Taken>> {
    let mut taken = vec![];
    if let Some(username) = username
        && user::by_username(db.read(), username).await?.is_some()
    {
        taken.push(Taken::Username);
    }
    if let Some(email) = email
        && user::by_email(db.read(), email).await?.is_some()
    {
        taken.push(Taken::Email);
    }
    Ok(taken)
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
///
/// Strangers at many addresses of the network can use up what one address gets. If the owner's own sign-up then sent
/// nothing, the only button in the mailbox would be one that a stranger has planted. So the first letter that a client
/// asks for always goes out.
async fn may_send(
    Accounts { db, limits, .. }: &Accounts,
    to: &Email,
    client: &Client,
    now: OffsetDateTime,
) -> Result<bool> {
    let [first, more] = limits.signup_letters(to, client);
    if limits.take(db, &first, now).await?.is_ok() {
        let [_, all] = more;
        let _counted_if_there_is_room = limits.take(db, &[all], now).await?;
        return Ok(true);
    }
    Ok(limits.take(db, &more, now).await?.is_ok())
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

/// Returns what was typed in a sign-up that still waits for its letter.
///
/// # Errors
/// When the database is out of reach.
pub async fn begun(db: &Db, pending: Uuid, now: OffsetDateTime) -> Result<Option<PendingSignup>> {
    pending_signup::find(db.read(), pending, now).await
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

/// A sign-up whose link was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The account that the link would create.
    pub pending: PendingSignup,
    /// Whether it was opened in the browser that began the sign-up.
    pub began_here: bool,
}

/// Returns the sign-up that this link belongs to, if the link still works, for a browser that began the pending row
/// `began`, if it began any. Reads only.
///
/// # Errors
/// When the database is out of reach.
pub async fn opened(db: &Db, token: &Token, began: Option<Uuid>, now: OffsetDateTime) -> Result<Option<Opened>> {
    let Some(pending) = pending_signup::by_token(db.read(), token, now).await? else { return Ok(None) };
    let began = match began {
        Some(began) => pending_signup::find(db.read(), began, now).await?,
        None => None,
    };
    // A letter that went out twice has two rows, and only these two have the same salted hash.
    let began_here = began.is_some_and(|began| began.hashed_password == pending.hashed_password);
    Ok(Some(Opened { pending, began_here }))
}

/// What a person confirms, and what they choose beside it.
#[derive(Debug)]
pub struct Confirmation {
    /// The pending row that this browser began with, if any.
    pub began: Option<Uuid>,
    /// Another username, if the one of the sign-up is taken by now.
    pub username: Option<Username>,
    /// The password, in a browser that did not begin the sign-up.
    pub password: Option<NewPassword>,
}

/// What pressing the button came to.
#[derive(Debug)]
pub enum Confirmed {
    /// There is an account now.
    Created {
        /// It.
        user: Box<User>,
        /// Whether this browser began the sign-up, and may be logged in.
        began_here: bool,
        /// The device token of a browser that did not begin it.
        device: Option<Token>,
    },
    /// The username was taken meanwhile; the link still works with another one.
    UsernameTaken,
    /// Another browser began the sign-up, so this one has to choose the password.
    PasswordNeeded,
    /// The link was used, has expired, or its address has an account by now.
    Gone,
}

/// Creates the account that the link stands for.
///
/// A stranger can sign up with the address of somebody else, and a password that the stranger knows. The owner of the
/// address may well press the button in that letter. So the password of the sign-up is used only in the browser that
/// began it. In any other browser the person chooses one, and is not logged in: a link that was forwarded must not put
/// a person into an account of the sender's (log-in CSRF).
///
/// # Errors
/// When the database is out of reach or too many passwords are waiting.
pub async fn confirm(
    accounts: &Accounts,
    token: &Token,
    Confirmation { began, username, password }: Confirmation,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Confirmed> {
    let db = &accounts.db;
    let Some(Opened { pending, began_here }) = opened(db, token, began, now).await? else { return Ok(Confirmed::Gone) };
    let hashed_password = match (began_here, password) {
        (true, _) => pending.hashed_password,
        // Who has the link reads the email of that address, and does not wait behind strangers.
        (false, Some(password)) => accounts.hasher.for_the_known().hash(password.into_inner()).await?,
        (false, None) => return Ok(Confirmed::PasswordNeeded),
    };
    let (username, username_canonical) = match username {
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
        hashed_password,
        created_at: now,
        updated_at: now,
        locale: client.chosen.map(|locale| locale.tag().to_owned()),
        first_locale: Some(client.locale.tag().to_owned()),
        password_changed_at: None,
        disabled_at: None,
    };
    let tx = db.begin().await?;
    if !pending_signup::redeem(&tx, token, now).await? {
        return Ok(Confirmed::Gone);
    }
    let user = match user::insert(&tx, user).await? {
        Ok(user) => user,
        Err(Taken::Username) => return Ok(Confirmed::UsernameTaken), // rolled back: the link stays
        Err(Taken::Email) => return Ok(Confirmed::Gone),
    };
    // Links of other sign-ups with this address die with it, and the passwords planted in them.
    pending_signup::delete_all(&tx, &user.email_canonical).await?;
    event::record(&tx, Kind::SignUp, Some(user.id), &Asked::new(client, now)).await?;
    let device = match began_here {
        true => None, // the log-in that follows makes it known
        false => device::recognise(&tx, session::Kind::Browser, user.id, client, now).await?,
    };
    tx.commit().await?;
    Ok(Confirmed::Created { user: Box::new(user), began_here, device })
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
        disabled_at: None,
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
