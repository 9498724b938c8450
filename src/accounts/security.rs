//! Where a person is logged in, and how they end it.

use sea_orm::ConnectionTrait;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::event::{self, Kind};
use crate::accounts::limit::Mailed;
use crate::accounts::link::not_me_link;
use crate::accounts::login::LoggedIn;
use crate::accounts::outbox::letter::Letter;
use crate::accounts::session::{self, Session, device};
use crate::accounts::user::{self, User};
use crate::accounts::{Accounts, Asked, Client, Result, outbox};
use crate::chance;
use crate::db::Db;

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
pub async fn end(
    accounts: &Accounts,
    (user, this): (&User, &Session),
    session: Uuid,
    client: &Client,
    now: OffsetDateTime,
) -> Result<()> {
    let turn = turn_to_tell(accounts, (user, this), |other| other.id == session, client, now).await?;
    let tx = accounts.db.begin().await?;
    if session::end_one(&tx, user.id, session).await? {
        let asked = Asked::new(client, now);
        event::record(&tx, Kind::SessionEnded, Some(user.id), &asked).await?;
        if let Some(turn) = turn {
            tell(&tx, (user, this.id), 1, (client, asked), turn, now).await?;
        }
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
pub async fn end_others(
    accounts: &Accounts,
    (user, this): (&User, &Session),
    client: &Client,
    now: OffsetDateTime,
) -> Result<Option<LoggedIn>> {
    let turn = turn_to_tell(accounts, (user, this), |_| true, client, now).await?;
    let tx = accounts.db.begin().await?;
    user::lock(&tx, user.id).await?;
    let Some((session, ended)) = session::keep_only(&tx, this).await? else { return Ok(None) };
    // A browser that the account does not know stays unknown: whoever has only a stolen session cookie must not get
    // attempts at the password that are counted apart from those of strangers.
    let device = match &client.device {
        Some(old) if device::find(&tx, &old.digest(), Some(user.id), now).await?.is_some() => {
            Some(device::rename(&tx, Some(old)).await?)
        }
        _ => None,
    };
    device::forget_all(&tx, user.id, device.as_ref()).await?;
    if ended > 0 {
        let asked = Asked::new(client, now);
        event::record(&tx, Kind::OthersEnded, Some(user.id), &asked).await?;
        if let Some(turn) = turn {
            let devices = u32::try_from(ended).unwrap_or(u32::MAX);
            tell(&tx, (user, session.id), devices, (client, asked), turn, now).await?;
        }
    }
    tx.commit().await?;
    Ok(Some(LoggedIn { session, device }))
}

/// Decides whether an email tells the owner that other devices are logged out. If it does, takes its turn and returns when
/// it may go out.
///
/// A thief who logs the owner out keeps the account to themselves, and a log-in page tells the owner nothing. The email
/// goes out if the account has not known this browser for a week: for so long the owner may not have read the email
/// about its first log-in, whose link works as long. One session is told of like all of them, or a thief would log them
/// out one by one. Beyond the limit the news waits in one email: a thief could use up the turns beforehand.
async fn turn_to_tell(
    Accounts { db, limits, .. }: &Accounts,
    (user, this): (&User, &Session),
    ends: impl Fn(&Session) -> bool,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Option<OffsetDateTime>> {
    let known = match &client.device {
        Some(device) => device::find(db.read(), &device.digest(), Some(user.id), now).await?,
        None => None,
    };
    if known.is_some_and(|device| device::first_seen_at(device) <= now - not_me_link::LIFETIME) {
        return Ok(None);
    }
    let sessions = session::all(db.read(), user.id, now).await?;
    if !sessions.iter().any(|other| other.id != this.id && ends(other)) {
        return Ok(None);
    }
    limits.turn(db, Mailed::DevicesEnded, user, now).await.map(Some)
}

/// Tells the owner that devices are logged out, in the transaction that ends their sessions: in an email of its own, or in
/// the one that waits for its turn.
async fn tell(
    conn: &impl ConnectionTrait,
    (user, session): (&User, Uuid),
    devices: u32,
    (client, asked): (&Client, Asked),
    turn: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<()> {
    let joined = outbox::join(conn, user, "devices_ended", |letter| {
        if let Letter::DevicesEnded { devices: before, .. } = letter {
            *before = before.saturating_add(devices);
        }
    });
    if turn > now && joined.await? {
        return Ok(());
    }
    let letter = Letter::DevicesEnded { user: user.id, session, act: chance::id(), devices, asked };
    let locale = user.letter_locale().unwrap_or(client.locale);
    outbox::insert_for(conn, &user.email, locale, &letter, (now, turn)).await
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
