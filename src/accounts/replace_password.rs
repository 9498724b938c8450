//! The one way in which a password becomes another one, with all that follows from it.

use time::OffsetDateTime;

use crate::accounts::context::Post;
use crate::accounts::event::{self, EventKind};
use crate::accounts::limit::accounts::Mailed;
use crate::accounts::link::{self, reset_token};
use crate::accounts::outbox::letter::Letter;
use crate::accounts::password::HashedPassword;
use crate::accounts::session::{self, Session, SessionKind, device};
use crate::accounts::token::Token;
use crate::accounts::user::{self, User};
use crate::accounts::{Accounts, Asked, Client, Result, outbox};
use crate::db::Transaction;

/// What proves that the password may be replaced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Proof<'a> {
    /// A reset link, which is used up. The new password is set in a browser or by a program.
    Link(&'a Token, SessionKind),
    /// The current password, in this session.
    Password(&'a Session),
}

/// The outcome.
#[derive(Debug)]
pub(super) enum Replaced {
    /// The password is replaced.
    Done {
        /// The session that goes on, with another id.
        session: Option<Session>,
        /// The device token of the browser from now on. A program has none.
        device: Option<Token>,
        /// The letter to the owner.
        post: Post,
    },
    /// The link was used, the account was disabled, or its password was changed, while the new one was hashed. Nothing has
    /// changed.
    ProofGone,
    /// The session has ended while the new password was hashed. Nothing has changed.
    SessionEnded,
}

/// Replaces the password of the user.
///
/// An attacker may have made this necessary. So all other sessions end, mailed links stop working, no other browser is
/// known any more, and a letter tells the owner. The buckets of strangers are refilled, because no attacker has guessed
/// at the new one yet.
pub(super) async fn replace(
    tx: &Transaction,
    Accounts { limits, .. }: &Accounts,
    (user, proof, hashed_password): (&User, Proof<'_>, HashedPassword),
    client: &Client,
    now: OffsetDateTime,
) -> Result<Replaced> {
    // The new password took 10 to 20 ms to hash. What was true before it may not be true any more. The user is locked first, as
    // everywhere: two transactions that lock in different orders wait for each other.
    let still = match proof {
        Proof::Link(..) => user::lock(tx, user.id).await?.filter(|user| !user.is_disabled()),
        Proof::Password(_) => user::locked_if_password_is(user.id, &user.hashed_password).one(tx).await?,
    };
    if still.is_none() {
        return Ok(Replaced::ProofGone);
    }
    if let Proof::Link(token, _) = proof
        && !link::redeem::<reset_token::Entity>(tx, &token.digest(), now).await?
    {
        return Ok(Replaced::ProofGone);
    }
    // Only now, with the user locked: a link that was made while this waited for the user dies too.
    reset_token::delete_unused(tx, user.id).await?;
    user::set_password(tx, user.id, hashed_password, matches!(proof, Proof::Link(..)), now).await?;
    let (session, device, kind) = match proof {
        Proof::Link(_, by) => {
            session::end_all(tx, user.id, now).await?;
            device::forget_all(tx, user.id, None).await?;
            // Strangers who go on guessing must not delay the owner's first log-in with the new password.
            let device = device::make_known(tx, by, user.id, client, now).await?;
            limits.accounts.refill_all(tx, user).await?;
            (None, device, EventKind::ResetDone)
        }
        Proof::Password(session) => {
            let Some((session, _)) = session::keep_only(tx, session).await? else { return Ok(Replaced::SessionEnded) };
            let device = device::make_known(tx, session.kind, user.id, client, now).await?;
            device::forget_all(tx, user.id, device.as_ref()).await?;
            limits.accounts.refill_strangers(tx, user).await?;
            limits.accounts.forgive(tx, &limits.accounts.current_password(user.id)).await?;
            // The links that were sent are dead now. If this was a thief, the owner needs another one.
            limits.accounts.refill_letters(tx, Mailed::Reset, user).await?;
            (Some(session), device, EventKind::PasswordChanged)
        }
    };
    let asked = Asked::new(client, now);
    event::record(tx, kind, Some(user.id), &asked).await?;
    let to = (&user.email, user.letter_locale(client.locale));
    let post = outbox::insert(tx, to, &Letter::PasswordChanged { asked }, now).await?;
    Ok(Replaced::Done { session, device, post })
}
