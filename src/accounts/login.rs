//! Logging in and out.

use sea_orm::ConnectionTrait;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::event::{self, Kind};
use crate::accounts::limit::{self, Bucket, Mailed, TooMany};
use crate::accounts::password::Password;
use crate::accounts::password::hasher::Hasher;
use crate::accounts::session::{self, Lasting, Session, device};
use crate::accounts::token::{Token, TokenDigest};
use crate::accounts::user::{self, User};
use crate::accounts::{Accounts, Asked, Client, Fault, Result, new_device};
use crate::db::Db;
use crate::throttle::Taken;

/// What came of trying to log in.
#[derive(Debug)]
pub enum Attempt {
    /// It is the password.
    Succeeded(LoggedIn),
    /// It says no more than that: no such user, another password, nothing typed and far too much typed get the same
    /// answer for the same work.
    Failed,
    /// It is the password, but the operator has disabled the account. To anybody who does not know the password the account
    /// is like any other.
    Disabled,
    /// The password was not looked at.
    Refused(TooMany),
}

/// A session, and the browser's new name.
#[derive(Debug)]
pub struct LoggedIn {
    /// The session.
    pub session: Session,
    /// What the browser is known by from now on; none for a program.
    pub device: Option<Token>,
}

/// Starts a session for whoever `login` (an address or a username) names, if the password is theirs.
///
/// # Errors
/// When the database is out of reach or too many passwords are waiting.
pub async fn with_password(
    accounts: &Accounts,
    (login, password): (&str, Password),
    lasting: Lasting,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Attempt> {
    let attempt = attempt(accounts, (login, password), lasting, client, now).await?;
    let counts = &accounts.metrics.log_ins;
    match attempt {
        Attempt::Succeeded(_) => counts.succeeded.inc(),
        Attempt::Failed | Attempt::Disabled => counts.failed.inc(),
        Attempt::Refused(_) => counts.refused.inc(),
    };
    Ok(attempt)
}

async fn attempt(
    accounts: &Accounts,
    (login, password): (&str, Password),
    lasting: Lasting,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Attempt> {
    let Accounts { db, limits, .. } = accounts;
    let (user, asked) = (user::by_login(db.read(), login).await?, Asked::new(client, now));
    let id = user.as_ref().map(|user| user.id);

    let device = device_of(lasting, client);
    let known = device::find(db.read(), &device, id, now).await?;
    let Turn { buckets, taken, hasher, key } = match take_turn(accounts, (id, login), known, now).await? {
        Ok(turn) => turn,
        Err(too_many) => return Ok(Attempt::Refused(too_many)),
    };

    let _place = hasher.hold(&key).await?;
    let stored = user.as_ref().map(|user| user.hashed_password.clone());
    let verdict = match hasher.verify(password.clone(), stored).await {
        Err(Fault::Busy) => {
            limits.give_back(db.write(), &buckets).await?; // nobody looked at it
            return Err(Fault::Busy);
        }
        verdict => verdict?,
    };
    let Some(mut user) = user.filter(|_| verdict.matches) else {
        event::record_miss(accounts, id, taken, &asked).await?;
        return Ok(Attempt::Failed);
    };
    // After the hash and never before it: otherwise the time of the answer would tell a stranger which accounts are disabled.
    if user.is_disabled() {
        let event = (Kind::LogInDisabled, id);
        event::record_of_stranger(db.write(), (limits, &accounts.metrics), event, &asked).await?;
        return Ok(Attempt::Disabled);
    }
    if verdict.outdated {
        let fresh = hasher.hash(password).await?;
        if !user::renew_hash(db.write(), &user, fresh.clone(), now).await? {
            return Ok(Attempt::Failed);
        }
        user.hashed_password = fresh;
    }
    let turn = match known {
        Some(_) => None,
        None => Some(limits.turn(db, Mailed::NewDevice, &user, now).await?),
    };
    let tx = db.begin().await?;
    let Some(logged_in) = begin(&tx, &user, lasting, client, now).await? else { return Ok(Attempt::Failed) };
    limits.forgive(&tx, &buckets).await?;
    if let Some(turn) = turn {
        new_device::tell(&tx, (&user, logged_in.session.id), client, turn, now).await?;
    }
    tx.commit().await?;
    Ok(Attempt::Succeeded(logged_in))
}

/// Whether the account knows the browser that asks. Its tries are counted by themselves, so that neither strangers nor
/// neighbours behind the same address hold it up.
///
/// # Errors
/// When the database is out of reach.
pub async fn knows(db: &Db, login: &str, client: &Client, now: OffsetDateTime) -> Result<bool> {
    let Some(device) = &client.device else { return Ok(false) };
    let user = user::by_login(db.read(), login).await?.map(|user| user.id);
    Ok(device::find(db.read(), &device.digest(), user, now).await?.is_some())
}

/// What a log-in comes from: a browser by its name, programs by their network. A browser without a name is as good as
/// one with a name that nobody has given.
fn device_of(lasting: Lasting, client: &Client) -> TokenDigest {
    match (lasting, &client.device) {
        (Lasting::Token(_), _) => TokenDigest::of_programs(client),
        (_, Some(device)) => device.digest(),
        (_, None) => Token::random().digest(),
    }
}

/// An attempt that was taken.
struct Turn {
    /// In what it is counted.
    buckets: Vec<Bucket>,
    taken: Taken,
    /// By the line in which it waits.
    hasher: Hasher,
    /// With what it shares its places there.
    key: String,
}

/// Takes a try: one of this browser's own if the account knows it, else one of all strangers'. Strangers wait for the
/// hash in a line of their own too: their guessing never keeps the owner out, nor waiting.
async fn take_turn(
    Accounts { db, hasher, limits, .. }: &Accounts,
    (user, login): (Option<Uuid>, &str),
    known: Option<Uuid>,
    now: OffsetDateTime,
) -> Result<Result<Turn, TooMany>> {
    if let (Some(device), Some(user)) = (known, user) {
        let own = limits.device(device);
        let (hasher, key) = (hasher.for_the_known(), user.to_string());
        match limits.take(db, &own, now).await? {
            Err(TooMany::Closed) => {} // it has guessed too much to be known any longer
            taken => return Ok(taken.map(|taken| Turn { buckets: own.into(), taken, hasher, key })),
        }
    }
    let strangers = limits.strangers(user, login);
    let (hasher, key) = (hasher.clone(), limit::canonical(login));
    Ok(limits.take(db, &strangers, now).await?.map(|taken| Turn { buckets: strangers.into(), taken, hasher, key }))
}

/// Starts a session, if the user's password is still the one in `user`.
pub(super) async fn begin(
    conn: &impl ConnectionTrait,
    user: &User,
    lasting: Lasting,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Option<LoggedIn>> {
    let Some(session) = session::start(conn, user, lasting, client, now).await? else { return Ok(None) };
    let device = device::recognise(conn, session.kind, user.id, client, now).await?;
    let kind = if session.kind == session::Kind::Api { Kind::Token } else { Kind::LogIn };
    event::record(conn, kind, Some(user.id), &Asked::new(client, now)).await?;
    Ok(Some(LoggedIn { session, device }))
}

/// Ends the session; its cookie is worthless from here on, wherever copies of it are.
///
/// # Errors
/// When the database is out of reach.
pub async fn log_out(db: &Db, session: &Session, client: &Client, now: OffsetDateTime) -> Result<()> {
    let tx = db.begin().await?;
    session::end(&tx, session.id).await?;
    event::record(&tx, Kind::LogOut, Some(session.user_id), &Asked::new(client, now)).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends the session that a browser had before another one began in it: it would live on with nobody to end it.
///
/// # Errors
/// When the database is out of reach.
pub async fn leave_behind(db: &Db, session: Uuid) -> Result<()> {
    session::end(db.write(), session).await
}
