//! Creating an account: asked for by a form, confirmed by an emailed link.

mod confirm;

use sea_orm::ConnectionTrait;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::context::Post;
use crate::accounts::event::{self, EventKind};
use crate::accounts::limit::clients::Action;
use crate::accounts::link::pending_signup::{self, PendingSignup};
use crate::accounts::login::{self, LoggedIn};
use crate::accounts::outbox::letter::Letter;
use crate::accounts::password::{HashedPassword, NewPassword, PasswordError};
use crate::accounts::policy::Lasting;
use crate::accounts::session::SessionKind;
use crate::accounts::user::email::{Email, EmailError};
use crate::accounts::user::username::{FullName, FullNameError, Username, UsernameError};
use crate::accounts::user::{self, NewUser, Taken, User};
use crate::accounts::{Accounts, Asked, Client, Result, outbox};
use crate::chance;
use crate::config::Signup;
use crate::db::Db;

pub use confirm::{Confirmation, Confirmed, OpenedSignup, SignupLetter, confirm, issue, opened};

/// What a visitor types to sign up.
#[derive(Clone, Copy, Debug)]
pub struct Typed<'a> {
    /// Where the letter goes.
    pub email: &'a str,
    /// The name to log in with.
    pub username: &'a str,
    /// The name that the user is called by. It may be empty.
    pub full_name: &'a str,
    /// The password.
    pub password: &'a str,
    /// Whether every field was sent. If not, the others are checked, and nothing else is done.
    pub complete: bool,
}

/// What is wrong with one of the fields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SignupProblem {
    /// The address.
    Email(EmailError),
    /// The username.
    Username(UsernameError),
    /// The full name.
    FullName(FullNameError),
    /// The password.
    Password(PasswordError),
    /// Another user has this name.
    Taken(Taken),
}

/// The outcome of a sign-up.
#[derive(Debug)]
pub enum SignUp {
    /// A letter was sent to the address.
    Begun(Box<PendingSignup>),
    /// There is an account now, because the site asks for no confirmation. A browser is logged in to it.
    Created(Box<User>, Option<Box<LoggedIn>>),
    /// There is something wrong with these fields, in the order of the form.
    Invalid(Vec<SignupProblem>),
    /// The site accepts no sign-ups.
    Closed,
}

/// Signs a visitor up, as the site's mode says.
///
/// Whether the address has an account already is said in the letter only, so that the answer tells nothing. On a site with
/// open sign-up the answer tells it anyway. Usernames are public, and a username that is taken is answered at once.
pub async fn sign_up(
    accounts: &Accounts,
    typed: Typed<'_>,
    by: SessionKind,
    client: &Client,
    now: OffsetDateTime,
) -> Result<SignUp> {
    let mode = accounts.policy.signup;
    if mode == Signup::Closed {
        return Ok(SignUp::Closed);
    }
    accounts.admit(Action::SignUp, client, now).await?;
    let new = match check(accounts, typed).await? {
        Ok(new) if typed.complete => new,
        checked => return Ok(SignUp::Invalid(checked.err().unwrap_or_default())),
    };
    let hashed_password = accounts.hasher.hash(new.password.clone().into_inner()).await?;
    match mode {
        Signup::Closed => Ok(SignUp::Closed),
        Signup::Verify => begin(accounts, new, hashed_password, client, now).await,
        Signup::Open => {
            let user = match create(accounts, new, hashed_password, client, now).await? {
                Ok(user) => Box::new(user),
                Err(taken) => return Ok(SignUp::Invalid(vec![SignupProblem::Taken(taken)])),
            };
            let logged_in = match by {
                SessionKind::Browser => log_in(accounts, &user, client, now).await?,
                SessionKind::Api => None,
            };
            Ok(SignUp::Created(user, logged_in))
        }
    }
}

/// The fields of a sign-up that are accepted.
struct Checked {
    email: Email,
    username: Username,
    full_name: FullName,
    password: NewPassword,
}

/// Checks all fields, so that the answer names every mistake. A look at the names here spares the hash; the
/// unique columns decide in the end.
async fn check(accounts: &Accounts, typed: Typed<'_>) -> Result<Result<Checked, Vec<SignupProblem>>> {
    let (conn, policy) = (accounts.db.read(), &accounts.policy);
    let email = Email::parse(typed.email);
    let username = Username::choose(typed.username, &policy.password.site_name);
    let mut problems = vec![];
    match &email {
        Err(why) => problems.push(SignupProblem::Email(*why)),
        Ok(email) if policy.signup == Signup::Open && user::by_email(conn, email).await?.is_some() => {
            problems.push(SignupProblem::Taken(Taken::Email));
        }
        Ok(_) => {}
    }
    match &username {
        Err(why) => problems.push(SignupProblem::Username(*why)),
        Ok(username) if user::by_username(conn, username).await?.is_some() => {
            problems.push(SignupProblem::Taken(Taken::Username));
        }
        Ok(_) => {}
    }
    let full_name = FullName::parse(typed.full_name);
    problems.extend(full_name.as_ref().err().copied().map(SignupProblem::FullName));
    let about = [typed.email, typed.username, typed.full_name];
    let password = accounts.judge(&accounts.hasher, typed.password, about).await?;
    problems.extend(password.as_ref().err().copied().map(SignupProblem::Password));
    Ok(match (email, username, full_name, password) {
        (Ok(email), Ok(username), Ok(full_name), Ok(password)) if problems.is_empty() => {
            Ok(Checked { email, username, full_name, password })
        }
        _ => Err(problems),
    })
}

/// Writes a pending row, and a letter whether the address has an account or not.
async fn begin(
    accounts: &Accounts,
    new: Checked,
    hashed_password: HashedPassword,
    client: &Client,
    now: OffsetDateTime,
) -> Result<SignUp> {
    let pending = PendingSignup {
        id: chance::id(),
        token_digest: None,
        email_canonical: new.email.canonical(),
        email: new.email,
        username: new.username.as_str().to_owned(),
        username_canonical: new.username.canonical().to_owned(),
        full_name: new.full_name.as_str().to_owned(),
        hashed_password,
        created_at: now,
        expires_at: now + pending_signup::LIFETIME,
    };
    let may_send = may_send(accounts, &pending.email, client, now).await?;
    let tx = accounts.db.begin().await?;
    let pending = pending_signup::insert(&tx, pending).await?;
    let post = if may_send { send(&tx, &pending, client, now).await? } else { Post::Nothing };
    tx.commit().await?;
    accounts.ring(post);
    Ok(SignUp::Begun(Box::new(pending)))
}

/// Creates an account at once, for sites that do not ask for confirmation.
async fn create(
    accounts: &Accounts,
    new: Checked,
    hashed_password: HashedPassword,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Result<User, Taken>> {
    let new = NewUser {
        email: new.email,
        username: new.username,
        full_name: new.full_name.as_str().to_owned(),
        hashed_password,
        locale: client.chosen,
        first_locale: client.locale,
        email_is_proven: false,
    };
    let tx = accounts.db.begin().await?;
    let inserted = user::insert(&tx, new, now).await?;
    if let Ok(user) = &inserted {
        event::record(&tx, EventKind::SignUp, Some(user.id), &Asked::new(client, now)).await?;
        tx.commit().await?;
    }
    Ok(inserted)
}

/// Returns whether this address gets one more letter for now. The answer on the page is the same.
///
/// Strangers at many addresses of the network can use up what one mailbox gets. If the owner's own sign-up then sent
/// nothing, the only link in the mailbox would be one that a stranger has planted. So the first letter that a client asks
/// for is always sent.
async fn may_send(
    Accounts { db, limits, .. }: &Accounts,
    to: &Email,
    client: &Client,
    now: OffsetDateTime,
) -> Result<bool> {
    let [first, more] = limits.accounts.signup_letters(to, client);
    if limits.accounts.take(db, &first, now).await?.is_ok() {
        let [_, all] = more;
        // Counted if there is an attempt left. The first letter is sent in any case.
        let _ = limits.accounts.take(db, &[all], now).await?;
        return Ok(true);
    }
    Ok(limits.accounts.take(db, &more, now).await?.is_ok())
}

async fn send(
    conn: &impl ConnectionTrait,
    pending: &PendingSignup,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Post> {
    let letter = Letter::Signup { pending: pending.id, asked: Asked::new(client, now) };
    outbox::insert(conn, (&pending.email, client.locale), &letter, now).await
}

/// Returns what was typed in a sign-up that still waits for its confirmation.
pub async fn begun(db: &Db, pending: Uuid, now: OffsetDateTime) -> Result<Option<PendingSignup>> {
    pending_signup::find(db.read(), pending, now).await
}

/// Sends the letter once more, if the pending row is still there.
pub async fn ask_again(accounts: &Accounts, pending: Uuid, client: &Client, now: OffsetDateTime) -> Result<()> {
    accounts.admit(Action::SignUp, client, now).await?;
    let db = &accounts.db;
    if let Some(pending) = pending_signup::find(db.read(), pending, now).await?
        && may_send(accounts, &pending.email, client, now).await?
    {
        let post = send(db.write(), &pending, client, now).await?;
        accounts.ring(post);
    }
    Ok(())
}

/// Logs a new user in without the password: the site asks for no confirmation, or the user has just confirmed in the
/// browser that began the sign-up.
async fn log_in(
    accounts: &Accounts,
    user: &User,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Option<Box<LoggedIn>>> {
    let tx = accounts.db.begin().await?;
    let logged_in = login::begin_session(&tx, accounts, user, (Lasting::UntilClosed, client), now).await?;
    tx.commit().await?;
    Ok(logged_in.map(Box::new))
}
