//! Where a person is logged in, and how they end it.

use std::cmp::Reverse;

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::email::Email;
use super::event::{self, Event, Kind};
use super::session::{self, Session};
use super::user::{self, User};
use super::{Accounts, Asked, Client, Fault, Result, device, password_reset};
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

/// Ends every session of the user but this one, and knows no browser but this one any more.
///
/// # Errors
/// When the database is out of reach.
pub async fn end_others(db: &Db, this: &Session, client: &Client, now: OffsetDateTime) -> Result<()> {
    let tx = db.begin().await?;
    session::end_all(&tx, this.user_id, Some(this.id)).await?;
    device::forget_all(&tx, this.user_id, client.device.as_ref()).await?;
    event::record(&tx, Kind::SessionEnded, Some(this.user_id), &Asked::new(client, now)).await?;
    tx.commit().await?;
    Ok(())
}

/// What happened to the account lately, the newest first, and how often in a row. What anybody can cause is told once
/// a kind: whoever guesses must not be able to wash out the log-in that they were after.
///
/// # Errors
/// When the database is out of reach.
pub async fn activity(db: &Db, user: &User) -> Result<Vec<(Event, u32)>> {
    /// How many events of each sort are looked through, and how many of the person's own are told.
    const LOOKED_THROUGH: u64 = 500;
    const TOLD: usize = 20;
    let mut told: Vec<(Event, u32)> = vec![];
    for event in event::newest(db.read(), user.id, false, LOOKED_THROUGH).await? {
        match told.last_mut() {
            Some((last, times)) if last.is_like(&event) => *times += 1,
            _ => told.push((event, 1)),
        }
    }
    told.truncate(TOLD);
    for event in event::newest(db.read(), user.id, true, LOOKED_THROUGH).await? {
        match told.iter_mut().find(|(other, _)| other.kind == event.kind) {
            Some((_, times)) => *times += 1,
            None => told.push((event, 1)),
        }
    }
    told.sort_by_key(|(event, _)| Reverse((event.at, event.id)));
    Ok(told)
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

/// The user.
///
/// # Errors
/// When the database is out of reach.
pub async fn user(db: &Db, id: Uuid) -> Result<Option<User>> {
    user::by_id(db.read(), id).await
}

/// One session of the user, if it has not ended.
///
/// # Errors
/// When the database is out of reach.
pub async fn find(db: &Db, user: &User, session: Uuid, now: OffsetDateTime) -> Result<Option<Session>> {
    Ok(sessions(db, user, now).await?.into_iter().find(|other| other.id == session))
}

/// Ends a session that the user says is not theirs, and mails them the way to a new password: that password is known to
/// somebody else. Whoever it is may have begun other sessions since, so those end too, and no browser is known any more.
/// After a change of password there is nothing left to end.
///
/// # Errors
/// When the database is out of reach.
pub async fn not_me(
    accounts: &Accounts,
    user: &User,
    session: Uuid,
    client: &Client,
    now: OffsetDateTime,
) -> Result<()> {
    let Accounts { db, limits, .. } = accounts;
    let tx = db.begin().await?;
    if !changed_since(user, session) && session::end_since(&tx, user.id, session).await? {
        device::forget_all(&tx, user.id, None).await?;
        event::record(&tx, Kind::SessionEnded, Some(user.id), &Asked::new(client, now)).await?;
    }
    password_reset::allow_letters(&tx, limits, user).await?; // the link has proven that they are read
    tx.commit().await?;
    let fault = |_| Fault::Internal("an address in the table is none".into());
    password_reset::ask(accounts, &Email::parse(&user.email).map_err(fault)?, client, now).await
}

/// Whether the password was changed after the session began, by the time that is in its id (RFC 9562, 5.7).
fn changed_since(user: &User, session: Uuid) -> bool {
    let began = session.get_timestamp().map(|at| i64::try_from(at.to_unix().0).unwrap_or(i64::MAX));
    user.password_changed_at.zip(began).is_some_and(|(changed, began)| changed.unix_timestamp() >= began)
}
