//! News to the owner about log-ins from browsers that the account does not know.
//!
//! These letters are limited, because an attacker who logs in from one browser after another must not fill the mailbox.
//! But no log-in is left out: those beyond the limit wait together in one letter.

use sea_orm::ConnectionTrait;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::context::Post;
use crate::accounts::outbox::letter::Letter;
use crate::accounts::user::User;
use crate::accounts::{Asked, Client, Result, outbox};

/// How many log-ins one letter lists. The others are counted only, so that an attacker cannot make the row grow.
const LISTED: usize = 10;

/// Tells the owner of a log-in, in the transaction that begins the session: in a letter of its own if its turn is now, or
/// else in the one that waits. Each user has one letter that waits, because `session::start` has locked the user's row.
pub(super) async fn tell(
    conn: &impl ConnectionTrait,
    (user, session): (&User, Uuid),
    client: &Client,
    turn: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<Post> {
    let (id, asked) = (user.id, Asked::new(client, now));
    if turn <= now {
        let letter = Letter::NewDevice { user: id, session, asked };
        return outbox::insert(conn, (&user.email, user.letter_locale(client.locale)), &letter, now).await;
    }
    let letter = Letter::NewDevices { user: id, session, log_ins: vec![asked.clone()], more: 0 };
    outbox::insert_or_join(conn, (user, client.locale), &letter, (now, turn), |waiting| match waiting {
        Letter::NewDevices { log_ins, .. } if log_ins.len() < LISTED => log_ins.push(asked),
        Letter::NewDevices { more, .. } => *more += 1,
        _ => {}
    })
    .await
}
