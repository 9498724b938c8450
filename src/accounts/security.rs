//! Where a person is logged in, and how they end it.

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::event::{self, Kind};
use super::login::LoggedIn;
use super::session::{self, Session};
use super::user::{self, User};
use super::{Accounts, Asked, Client, Result, device, outbox, password_reset};
use crate::db::Db;

/// How long the link in the letter about a log-in works.
pub const NOT_ME_LIFETIME: Duration = Duration::days(7);

/// The sessions of the user, the one used last first.
///
/// # Errors
/// When the database is out of reach.
pub async fn sessions(db: &Db, user: &User, now: OffsetDateTime) -> Result<Vec<Session>> {
    session::all(db.read(), user.id, now).await
}

/// Ends one session of the user. Nobody ends another's, whatever id they send (OWASP, Insecure Direct Object
/// Reference Prevention Cheat Sheet).
///
/// # Errors
/// When the database is out of reach.
pub async fn end(db: &Db, user: Uuid, session: Uuid, client: &Client, now: OffsetDateTime) -> Result<()> {
    let tx = db.begin().await?;
    if session::end_one(&tx, user, session).await? {
        event::record(&tx, Kind::SessionEnded, Some(user), &Asked::new(client, now)).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Ends every session of the user but this one, and forgets every other browser. Copies of this one's cookies are among
/// the others: the session gets another id, and the browser another device token. Returns `None` if this session has
/// ended meanwhile; nothing has changed then.
///
/// # Errors
/// When the database is out of reach.
pub async fn end_others(db: &Db, this: &Session, client: &Client, now: OffsetDateTime) -> Result<Option<LoggedIn>> {
    let tx = db.begin().await?;
    user::lock(&tx, this.user_id).await?;
    let Some((session, ended)) = session::keep_only(&tx, this).await? else { return Ok(None) };
    // A browser that the account does not know stays unknown: whoever has only a stolen session cookie must not get
    // attempts at the password that are counted apart from those of strangers.
    let device = match &client.device {
        Some(old) if device::find(&tx, &old.digest(), Some(this.user_id), now).await?.is_some() => {
            Some(device::rename(&tx, Some(old)).await?)
        }
        _ => None,
    };
    device::forget_all(&tx, this.user_id, device.as_ref()).await?;
    if ended > 0 {
        event::record(&tx, Kind::SessionEnded, Some(this.user_id), &Asked::new(client, now)).await?;
    }
    tx.commit().await?;
    Ok(Some(LoggedIn { session, device }))
}

/// Notes what a door turned away: a form of another site (of the user whose cookie came with it, if one did), or a
/// client that tried too much.
///
/// # Errors
/// When the database is out of reach.
pub async fn note(
    Accounts { db, limits, metrics, .. }: &Accounts,
    kind: Kind,
    user: Option<Uuid>,
    client: &Client,
    now: OffsetDateTime,
) -> Result<()> {
    event::record_of_stranger(db.write(), (limits, metrics), (kind, user), &Asked::new(client, now)).await
}

/// Returns the user that a link “this was not me” is about, or `None` if its session belongs to another user. A session
/// that has ended belongs to nobody.
///
/// # Errors
/// When the database is out of reach.
pub async fn suspect(db: &Db, user: Uuid, session: Uuid) -> Result<Option<User>> {
    if session::owner(db.read(), session).await?.is_some_and(|owner| owner != user) {
        return Ok(None);
    }
    user::by_id(db.read(), user).await
}

/// One session of the user, if it has not ended.
///
/// # Errors
/// When the database is out of reach.
pub async fn find(db: &Db, user: &User, session: Uuid, now: OffsetDateTime) -> Result<Option<Session>> {
    Ok(sessions(db, user, now).await?.into_iter().find(|other| other.id == session))
}

/// What the button “this was not me” did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotMe {
    /// The session and all later ones have ended, no password opens the account, and a reset link was sent, now or when
    /// the button was first pressed.
    Ended,
    /// Nothing: the password was reset by email after that log-in, which has ended all of this already.
    ResetSince,
}

/// Ends a session that the user says is not theirs, and emails them the way to a new password.
///
/// A thief who logged in knows the password, may have changed it, and may have begun other sessions. So every session
/// ends that began since the first log-in from an unknown browser that an email told of lately, no browser is known any
/// more, and no password opens the account until the owner has
/// chosen one by the emailed link. Only a reset by email proves that the owner was there after the thief; a change of
/// password proves nothing.
///
/// # Errors
/// When the database is out of reach.
pub async fn not_me(
    accounts: &Accounts,
    user: &User,
    session: Uuid,
    client: &Client,
    now: OffsetDateTime,
) -> Result<NotMe> {
    let tx = accounts.db.begin().await?;
    // Ids are in the order of time (RFC 9562, 5.7). An event that was deleted after its time makes the link work again,
    // which costs the owner one more reset.
    if event::last(&tx, user.id, Kind::ResetDone).await?.is_some_and(|reset| reset.id > session) {
        return Ok(NotMe::ResetSince);
    }
    let asked = Asked::new(client, now);
    // The user's row first, as everywhere: it is locked while the rest is done.
    let first = user::take_password(&tx, user.id, now).await?;
    // A thief who logged in twice has two emails told about, and the owner may press the button of the later one.
    let earliest =
        outbox::sessions_told_of(&tx, user, now).await?.into_iter().chain([session]).min().unwrap_or(session);
    session::end_since(&tx, user.id, earliest).await?;
    device::forget_all(&tx, user.id, None).await?;
    if first {
        event::record(&tx, Kind::NotMe, Some(user.id), &asked).await?;
        // This email comes once, whatever the limit of emails to the address: the thief may have used that up. For the
        // same reason the button does not refill it.
        password_reset::send(&tx, user, asked, client.locale, now).await?;
    }
    tx.commit().await?;
    Ok(NotMe::Ended)
}
