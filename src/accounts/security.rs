//! Where a user is logged in, and how the user ends it.

use sea_orm::ConnectionTrait;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::context::Post;
use crate::accounts::event::{self, EventKind};
use crate::accounts::limit::accounts::Mailed;
use crate::accounts::limit::clients::Action;
use crate::accounts::link::not_me_link;
use crate::accounts::login::LoggedIn;
use crate::accounts::outbox::letter::Letter;
use crate::accounts::session::{self, Session, SessionKind, device};
use crate::accounts::user::{self, User};
use crate::accounts::{Accounts, Asked, Client, Result, outbox};
use crate::chance;
use crate::db::Db;
use crate::keys::Pointer;

/// Returns the sessions of the user, the one that was used last first.
pub async fn sessions(db: &Db, user: &User, now: OffsetDateTime) -> Result<Vec<Session>> {
    session::all(db.read(), user.id, now).await
}

/// Ends one session of the user. No id ends the session of another user (OWASP, Insecure Direct Object Reference Prevention
/// Cheat Sheet).
///
/// # Errors
/// [`Fault::TooMany`](super::Fault::TooMany): each call writes. Without a limit, a thief of one session could fill the disk,
/// and push the log-in that gave it out of Recent activity. The same holds for [`end_others`].
pub async fn end(
    accounts: &Accounts,
    (user, own): (&User, &Session),
    session: Uuid,
    client: &Client,
    now: OffsetDateTime,
) -> Result<()> {
    accounts.admit(Action::Link, client, now).await?;
    let turn = turn_to_tell(accounts, (user, own), |other| other.id == session, client, now).await?;
    let tx = accounts.db.begin().await?;
    user::lock(&tx, user.id).await?;
    let mut post = Post::Nothing;
    if session::end_one(&tx, user.id, session).await? {
        let asked = Asked::new(client, now);
        event::record(&tx, EventKind::SessionEnded, Some(user.id), &asked).await?;
        if let Some(turn) = turn {
            post = tell(&tx, (user, own.id, 1), (client, asked), turn, now).await?;
        }
    }
    tx.commit().await?;
    accounts.ring(post);
    Ok(())
}

/// Ends every session of the user but this one, and forgets every other browser. Copies of this browser's cookies are among
/// the others: the session gets another id, and the browser another device token. Returns `None` if this session has ended
/// meanwhile; nothing has changed then.
///
/// # Errors
/// [`Fault::TooMany`](super::Fault::TooMany), as [`end`].
pub async fn end_others(
    accounts: &Accounts,
    (user, own): (&User, &Session),
    client: &Client,
    now: OffsetDateTime,
) -> Result<Option<LoggedIn>> {
    accounts.admit(Action::Link, client, now).await?;
    let turn = turn_to_tell(accounts, (user, own), |_| true, client, now).await?;
    let tx = accounts.db.begin().await?;
    user::lock(&tx, user.id).await?;
    let Some((session, ended)) = session::keep_only(&tx, own).await? else { return Ok(None) };
    // A browser that the account does not know stays unknown. An attacker who has only a stolen session cookie must not get
    // attempts at the password that are counted apart from those of strangers.
    let device = match &client.device {
        Some(old) if device::find(&tx, &old.digest(), user.id, now).await?.is_some() => {
            Some(device::replace_token(&tx, old).await?)
        }
        _ => None,
    };
    device::forget_all(&tx, user.id, device.as_ref()).await?;
    let mut post = Post::Nothing;
    if ended > 0 {
        let asked = Asked::new(client, now);
        event::record(&tx, EventKind::OthersEnded, Some(user.id), &asked).await?;
        if let Some(turn) = turn {
            let devices = u32::try_from(ended).unwrap_or(u32::MAX);
            post = tell(&tx, (user, session.id, devices), (client, asked), turn, now).await?;
        }
    }
    tx.commit().await?;
    accounts.ring(post);
    Ok(Some(LoggedIn { session, user: user.clone(), device }))
}

/// Decides whether a letter tells the owner that other devices are logged out. If it does, takes its turn and returns when
/// it may be sent.
///
/// A thief who logs the owner out keeps the account to themselves, and a log-in page tells the owner nothing. The letter is
/// sent if the account has not known this browser for a week: for so long the owner may not have read the letter about its
/// first log-in, whose link works as long. One session is told of like all of them, or a thief would log them out one by
/// one. Beyond the limit the news waits in one letter: a thief could use up the turns beforehand.
async fn turn_to_tell(
    Accounts { db, limits, .. }: &Accounts,
    (user, own): (&User, &Session),
    ends: impl Fn(&Session) -> bool,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Option<OffsetDateTime>> {
    let known = match &client.device {
        Some(device) => device::find(db.read(), &device.digest(), user.id, now).await?,
        None => None,
    };
    if known.is_some_and(|device| device::first_seen_at(device) <= now - not_me_link::LIFETIME) {
        return Ok(None);
    }
    let sessions = session::all(db.read(), user.id, now).await?;
    if !sessions.iter().any(|other| other.id != own.id && ends(other)) {
        return Ok(None);
    }
    limits.accounts.turn(db.write(), Mailed::DevicesEnded, user, now).await.map(Some)
}

/// Tells the owner that devices are logged out, in the transaction that ends their sessions: in a letter of its own, or in
/// the one that waits for its turn.
async fn tell(
    conn: &impl ConnectionTrait,
    (user, session, devices): (&User, Uuid, u32),
    (client, asked): (&Client, Asked),
    turn: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<Post> {
    let letter = Letter::DevicesEnded { user: user.id, session, act: chance::id(), devices, asked };
    outbox::insert_or_join(conn, (user, client.locale), &letter, (now, turn), |waiting| {
        if let Letter::DevicesEnded { devices: before, .. } = waiting {
            *before = before.saturating_add(devices);
        }
    })
    .await
}

/// Notes that a form of another site was refused, in the account whose cookie came with it, if one did. A few forms of a
/// client only: an attacker sends them at no cost.
pub async fn note_cross_site(
    accounts: &Accounts,
    session: Option<Pointer>,
    client: &Client,
    now: OffsetDateTime,
) -> Result<()> {
    if accounts.limits.clients.take(Action::Note, client, now).is_err() {
        return Ok(());
    }
    let found = match session {
        Some(pointer) => accounts.sessions.find(SessionKind::Browser, pointer, now).await?,
        None => None,
    };
    let event = (EventKind::CrossSiteRefused, found.map(|found| found.user.id));
    event::record_of_stranger(accounts.db.write(), accounts, event, &Asked::new(client, now)).await?;
    Ok(())
}
