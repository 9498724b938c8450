//! Emails to the owner about log-ins from browsers that the account does not know.
//!
//! Such emails are limited, because an attacker who tries one browser after another must not fill the mailbox. But a
//! log-in is never left out: the ones beyond the limit wait together in one email.

use sea_orm::ConnectionTrait;
use time::OffsetDateTime;
use uuid::Uuid;

use super::letter::Letter;
use super::limit::Mailed;
use super::outbox;
use super::user::User;
use super::{Accounts, Asked, Client, Result};

/// How many log-ins one email lists. The others are counted only, so that an attacker cannot make the row grow.
const LISTED: usize = 10;

/// Takes the turn of one email, and returns when it may go out: now, or when the limit allows it. In the latter case the
/// turn belongs to the email in which the news of this kind waits.
pub(super) async fn take_turn(
    Accounts { db, limits, .. }: &Accounts,
    mailed: Mailed,
    user: &User,
    now: OffsetDateTime,
) -> Result<OffsetDateTime> {
    let bucket = limits.letters(mailed, &user.email_canonical);
    let Err(too_many) = limits.take(db, &bucket, now).await? else { return Ok(now) };
    // Refused if this turn is taken already, by the email that waits: the log-in joins that one.
    let _ = limits.take(db, &bucket.map(|bucket| bucket.one_ahead()), now).await?;
    Ok(now + too_many.wait())
}

/// Tells the owner of a log-in, in the transaction that begins the session: in an email of its own if its turn is now,
/// else in the one that waits. There is one of these for each user: `session::start` has locked the user's row.
pub(super) async fn tell(
    conn: &impl ConnectionTrait,
    (user, session): (&User, Uuid),
    client: &Client,
    turn: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<()> {
    let (id, asked) = (user.id, Asked::new(client, now));
    let locale = user.letter_locale().unwrap_or(client.locale);
    if turn <= now {
        let letter = Letter::NewDevice { user: id, session, asked };
        return outbox::insert(conn, &user.email, locale, &letter, now).await;
    }
    // It joins the one that waits, unless the postman has taken that one meanwhile. An email that was tried may have
    // arrived, so it stays as it is, and what comes later waits in another one.
    if let Some((row, mut letter)) = outbox::waiting(conn, user, "new_devices").await?
        && let Letter::NewDevices { log_ins, more, .. } = &mut letter
    {
        if log_ins.len() < LISTED {
            log_ins.push(asked.clone())
        } else {
            *more += 1
        }
        if outbox::rewrite(conn, row, &letter).await? {
            return Ok(());
        }
    }
    let letter = Letter::NewDevices { user: id, session, log_ins: vec![asked], more: 0 };
    outbox::insert_for(conn, &user.email, locale, &letter, (now, turn)).await
}
