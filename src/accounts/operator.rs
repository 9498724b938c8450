//! What an operator does by a command on the server, each with its event.
//!
//! The operator has the database and proves nothing. So that no attacker acts unseen in the operator's name, the owner
//! finds each of these in Recent activity, and is told by email where the account or its address changes hands.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::event::{self, EventKind};
use crate::accounts::link::{not_me_link, pending_signup, reset_token};
use crate::accounts::outbox::letter::Letter;
use crate::accounts::password::HashedPassword;
use crate::accounts::signing_key::{self, SigningAlgorithm};
use crate::accounts::token::Token;
use crate::accounts::user::email::Email;
use crate::accounts::user::username::{FullName, Username};
use crate::accounts::user::{self, Taken, User};
use crate::accounts::{Asked, Result, outbox, session};
use crate::db::{Alone, Db};
use crate::locale::Locale;

/// An account that the operator makes for a user.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Where the user reads email.
    pub email: Email,
    /// To log in with.
    pub username: Username,
    /// May be empty.
    pub full_name: FullName,
    /// The language to write to the user in, until they choose one.
    pub locale: Locale,
}

/// Makes an account without a password, and a reset link with which the user can choose one. An email tells the address.
pub async fn create(db: &Db, new: NewAccount, now: OffsetDateTime) -> Result<Result<(User, Token), Taken>> {
    let (email, locale) = (new.email.clone(), new.locale);
    let new = user::NewUser {
        email: new.email,
        username: new.username,
        full_name: new.full_name.as_str().to_owned(),
        hashed_password: HashedPassword::none(),
        locale: None,
        first_locale: locale,
        email_is_proven: true,
    };
    let tx = db.begin().await?;
    // Links of sign-ups with this address are deleted, and the passwords that were planted in them. They are locked before
    // the user is inserted, as in a confirmation: two that lock in different orders wait for each other.
    pending_signup::delete_all(&tx, &email.canonical()).await?;
    let user = match user::insert(&tx, new, now).await? {
        Ok(user) => user,
        Err(taken) => return Ok(Err(taken)),
    };
    let token = reset_token::issue(&tx, &user, now).await?;
    record(&tx, EventKind::UserCreated, &user, now).await?;
    let letter = Letter::AccountCreated { asked: Asked::of_a_command(now) };
    let _ = outbox::insert(&tx, (&user.email, locale), &letter, now).await?; // the server's postman looks by itself
    tx.commit().await?;
    Ok(Ok((user, token)))
}

/// Makes a reset link, which the operator hands to the user. Returns `None` if the user was deleted or disabled meanwhile.
pub async fn reset_link(db: &Db, user: &User, now: OffsetDateTime) -> Result<Option<Token>> {
    let tx = db.begin().await?;
    // The row is locked, so that a reset that ends meanwhile sees this link and deletes it.
    let user = user::lock(&tx, user.id).await?;
    let Some(user) = user.filter(|user| !user.is_disabled()) else { return Ok(None) };
    let token = reset_token::issue(&tx, &user, now).await?;
    record(&tx, EventKind::ResetLinkMade, &user, now).await?;
    tx.commit().await?;
    Ok(Some(token))
}

/// Closes an account: every session ends, browsers' and programs', reset links stop working, and no password opens it.
/// Returns how many sessions have ended, or `None` if it is disabled already.
pub async fn disable(db: &Db, user: &User, now: OffsetDateTime) -> Result<Option<u64>> {
    let tx = db.begin().await?;
    // The user first, as everywhere: a log-in that is under way has locked the user and is seen below, or waits here and
    // then finds the account disabled (`session::start`).
    if !user::set_disabled(&tx, user.id, Some(now), now).await? {
        return Ok(None);
    }
    reset_token::delete_unused(&tx, user.id).await?;
    let ended = session::end_all(&tx, user.id, now).await?;
    record(&tx, EventKind::UserDisabled, user, now).await?;
    tx.commit().await?;
    Ok(Some(ended))
}

/// Opens a disabled account again; what was ended stays ended. Returns `false` if it is not disabled.
pub async fn enable(db: &Db, user: &User, now: OffsetDateTime) -> Result<bool> {
    let tx = db.begin().await?;
    if !user::set_disabled(&tx, user.id, None, now).await? {
        return Ok(false);
    }
    // A link that was made in the moment in which the account was disabled must not come to life now.
    reset_token::delete_unused(&tx, user.id).await?;
    record(&tx, EventKind::UserEnabled, user, now).await?;
    tx.commit().await?;
    Ok(true)
}

/// Gives the user another address, on the operator's word that it is theirs. Both addresses are told.
///
/// What was mailed to the old address works no more: reset links, and links that say “this was not me”. The sessions stay,
/// because they were begun with the password, not with the mailbox. The operator can end them too.
pub async fn set_email(
    db: &Db,
    user: &User,
    (email, locale): (&Email, Locale),
    now: OffsetDateTime,
) -> Result<Result<(), Taken>> {
    let tx = db.begin().await?;
    user::lock(&tx, user.id).await?;
    reset_token::delete_unused(&tx, user.id).await?;
    not_me_link::delete_all(&tx, user.id).await?;
    pending_signup::delete_all(&tx, &email.canonical()).await?;
    if let Err(taken) = user::set_email(&tx, user.id, email, now).await? {
        return Ok(Err(taken));
    }
    record(&tx, EventKind::EmailSet, user, now).await?;
    let (locale, asked) = (user.letter_locale(locale), Asked::of_a_command(now));
    let removed = Letter::EmailRemoved { asked: asked.clone() };
    // The server's postman looks for these by itself.
    let _ = outbox::insert(&tx, (&user.email, locale), &removed, now).await?;
    let _ = outbox::insert(&tx, (email, locale), &Letter::EmailAdded { asked }, now).await?;
    tx.commit().await?;
    Ok(Ok(()))
}

/// Ends one session of the user, or all. Returns how many have ended.
pub async fn log_out(db: &Db, user: &User, session: Option<Uuid>, now: OffsetDateTime) -> Result<u64> {
    let tx = db.begin().await?;
    user::lock(&tx, user.id).await?;
    let ended = match session {
        Some(session) => session::end_one(&tx, user.id, session).await?.into(),
        None => session::end_all(&tx, user.id, now).await?,
    };
    if ended > 0 {
        record(&tx, EventKind::LoggedOut, user, now).await?;
    }
    tx.commit().await?;
    Ok(ended)
}

/// Deletes a user with all sessions, links and events, and every letter to the user's address and sign-up with it.
pub async fn delete(db: &Db, user: &User, now: OffsetDateTime) -> Result<()> {
    let tx = db.begin().await?;
    user::lock(&tx, user.id).await?;
    reset_token::delete_unused(&tx, user.id).await?;
    not_me_link::delete_all(&tx, user.id).await?;
    pending_signup::delete_all(&tx, &user.email_canonical).await?;
    // Before the user: a cascade may delete what apps have got first, and then nobody knows whom to tell.
    session::end_all(&tx, user.id, now).await?;
    user::delete_row(&tx, user.id).await?;
    outbox::forget(&tx, user).await?;
    event::record_deleted(&tx, user.id, &Asked::of_a_command(now)).await?;
    tx.commit().await?;
    Ok(())
}

/// What [`settle_restored`] has ended.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    /// Sessions of browsers and of programs.
    pub sessions: u64,
    /// Letters that waited.
    pub letters: u64,
}

/// Ends what a backup would bring back to life, in the transaction that restores it. The backup does not know what happened
/// after it was made.
///
/// - A session may have been logged out since, or ended by a reset, because a thief had it. A device may have been forgotten
///   for the same reason. `keep_sessions` keeps both, for an operator who knows that nothing happened since.
/// - An unused reset link may have been used since. A link “this was not me” stays: it only takes access away.
/// - A letter that waited has been sent since, or will be sent by the old database. The operator can send it again.
pub async fn settle_restored(conn: &impl ConnectionTrait, keep_sessions: bool, now: OffsetDateTime) -> Result<Settled> {
    let mut sessions = 0;
    if !keep_sessions {
        sessions = session::Entity::delete_many().exec(conn).await?.rows_affected;
        session::device::Entity::delete_many().exec(conn).await?;
    }
    reset_token::Entity::delete_many().filter(reset_token::Column::UsedAt.is_null()).exec(conn).await?;
    let letters =
        outbox::give_up(conn, "restored from a backup, in which it waited; it may have been sent since").await?;
    event::record(conn, EventKind::Restored, None, &Asked::of_a_command(now)).await?;
    Ok(Settled { sessions, letters })
}

/// Notes that the secret was changed.
pub async fn note_keys(db: &Db, kind: EventKind, now: OffsetDateTime) -> Result<()> {
    event::record(db.write(), kind, None, &Asked::of_a_command(now)).await
}

/// Lets the next keys sign the tokens of apps ([`signing_key`]). Returns from when on each signs.
pub async fn rotate_signing_keys(db: &Db, now: OffsetDateTime) -> Result<Vec<(SigningAlgorithm, OffsetDateTime)>> {
    let tx = db.begin_alone(Alone::MakingKeys).await?;
    let rotated = signing_key::rotate(&tx, now).await?;
    if !rotated.is_empty() {
        event::record(&tx, EventKind::SigningKeysRotated, None, &Asked::of_a_command(now)).await?;
    }
    tx.commit().await?;
    Ok(rotated)
}

async fn record(conn: &impl ConnectionTrait, kind: EventKind, user: &User, now: OffsetDateTime) -> Result<()> {
    event::record(conn, kind, Some(user.id), &Asked::of_a_command(now)).await
}
