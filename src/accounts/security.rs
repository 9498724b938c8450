//! Where a person is logged in, and how they end it.

use time::OffsetDateTime;
use uuid::Uuid;

use super::event::{self, Kind};
use super::login::LoggedIn;
use super::session::{self, Session};
use super::user::{self, User};
use super::{Accounts, Asked, Client, Result, device};
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
