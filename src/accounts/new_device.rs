//! Emails to the owner about log-ins from browsers that the account does not know.
//!
//! Such emails are limited, because an attacker who tries one browser after another must not fill the mailbox. But a
//! log-in is never left out: the ones beyond the limit wait together in one email.

use sea_orm::ConnectionTrait;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::outbox::letter::Letter;
use crate::accounts::user::User;
use crate::accounts::{Asked, Client, Result, outbox};

/// How many log-ins one email lists. The others are counted only, so that an attacker cannot make the row grow.
const LISTED: usize = 10;

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
    let joined = outbox::join(conn, user, "new_devices", |letter| match letter {
        Letter::NewDevices { log_ins, .. } if log_ins.len() < LISTED => log_ins.push(asked.clone()),
        Letter::NewDevices { more, .. } => *more += 1,
        _ => {}
    });
    if joined.await? {
        return Ok(());
    }
    let letter = Letter::NewDevices { user: id, session, log_ins: vec![asked], more: 0 };
    outbox::insert_for(conn, &user.email, locale, &letter, (now, turn)).await
}
