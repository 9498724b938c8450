//! What a person who is logged in changes about their account.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::event::{self, Kind};
use crate::accounts::limit::{Mailed, TooMany};
use crate::accounts::link::reset_token;
use crate::accounts::login::LoggedIn;
use crate::accounts::outbox::letter::Letter;
use crate::accounts::password::{NewPassword, Password};
use crate::accounts::session::{self, Session, device};
use crate::accounts::user::username::FullName;
use crate::accounts::user::{self, User};
use crate::accounts::{Accounts, Asked, Client, Fault, Result, outbox};
use crate::db::Db;
use crate::locale::Locale;

/// Changes how the person is called.
///
/// # Errors
/// When the database is out of reach.
pub async fn rename(db: &Db, user: &User, name: &FullName, now: OffsetDateTime) -> Result<()> {
    let row = user::ActiveModel {
        id: Set(user.id),
        full_name: Set(name.as_str().to_owned()),
        updated_at: Set(now),
        ..Default::default()
    };
    user::Entity::update(row).validate()?.exec(db.write()).await?;
    Ok(())
}

/// Saves the language of pages and letters; `None` leaves it to the browser that asks.
///
/// # Errors
/// When the database is out of reach.
pub async fn choose_language(db: &Db, user: Uuid, locale: Option<Locale>, now: OffsetDateTime) -> Result<()> {
    let tag = locale.map(|locale| locale.tag().to_owned());
    let row = user::ActiveModel { locale: Set(tag), updated_at: Set(now), ..Default::default() };
    // An update of many: a user who was deleted a moment ago is no fault.
    user::Entity::update_many().set(row).filter(user::Column::Id.eq(user)).exec(db.write()).await?;
    Ok(())
}

/// What came of trying to change the password.
#[derive(Debug)]
pub enum Change {
    /// It is changed. The session has another id now, and the browser another device token.
    Done(LoggedIn),
    /// The session has ended meanwhile, and nothing has changed.
    SessionEnded,
    /// What was given as the current one is not it.
    Wrong,
    /// It is right, and no new one was given. Nothing has changed.
    Kept,
    /// It is right, and the new one is the same again. Nothing has changed.
    SamePassword,
    /// There is no current one: only a reset by email gives the account another.
    NoPassword,
    /// What was given was not looked at.
    Refused(TooMany),
}

/// Changes the password of the user who knows the current one. The other sessions end, mailed links die, no other browser
/// is known any more, and a letter says so. Copies of this browser's cookies die as well. Without a new password it only
/// looks at the current one, so that a form with two mistakes hears of both.
///
/// A session alone is not enough: it may be a browser left open, or a stolen cookie (OWASP, Authentication
/// Cheat Sheet, “Require Re-authentication for Sensitive Features”).
///
/// # Errors
/// When the database is out of reach or too many passwords are waiting. Nothing has changed then.
pub async fn change_password(
    accounts: &Accounts,
    (user, session): (&User, &Session),
    (current, new): (Password, Option<NewPassword>),
    client: &Client,
    now: OffsetDateTime,
) -> Result<Change> {
    let Accounts { db, hasher, limits, .. } = accounts;
    if !user.has_password() {
        return Ok(Change::NoPassword);
    }
    let (hasher, bucket) = (hasher.for_the_known(), limits.current_password(user.id));
    let taken = match limits.take(db, &bucket, now).await? {
        Ok(taken) => taken,
        Err(too_many) => return Ok(Change::Refused(too_many)),
    };
    let asked = Asked::new(client, now);
    let _one_of_two = hasher.hold(&user.id.to_string()).await?;
    let verdict = match hasher.verify(current.clone(), Some(user.hashed_password.clone())).await {
        Err(Fault::Busy) => {
            limits.give_back(db.write(), &bucket).await?; // it was not looked at
            return Err(Fault::Busy);
        }
        verdict => verdict?,
    };
    if !verdict.matches {
        event::record_miss(accounts, Some(user.id), taken, &asked).await?;
        return Ok(Change::Wrong);
    }
    let Some(new) = new.map(NewPassword::into_inner) else {
        limits.forgive(db.write(), &bucket).await?;
        return Ok(Change::Kept);
    };
    if new.is(&current) {
        limits.forgive(db.write(), &bucket).await?;
        return Ok(Change::SamePassword);
    }
    let hashed_password = hasher.hash(new).await?;

    let tx = db.begin().await?;
    // Links first, then the user, as in a reset: two that lock in different orders wait for each other.
    reset_token::kill_all(&tx, user.id).await?;
    if user::still(&tx, user.id, &user.hashed_password).await?.is_none() {
        return Ok(Change::Wrong);
    }
    user::set_password(&tx, user.id, hashed_password, now).await?;
    let Some((session, _)) = session::keep_only(&tx, session).await? else { return Ok(Change::SessionEnded) };
    let device = device::recognise(&tx, session.kind, user.id, client, now).await?;
    device::forget_all(&tx, user.id, device.as_ref()).await?;
    limits.allow_strangers(&tx, user).await?;
    limits.forgive(&tx, &bucket).await?;
    // The links that went out are dead now. If this was a thief, the owner needs another one.
    limits.allow(&tx, Mailed::Reset, user).await?;
    event::record(&tx, Kind::PasswordChanged, Some(user.id), &asked).await?;
    let letter = Letter::PasswordChanged { asked };
    outbox::insert(&tx, &user.email, user.letter_locale().unwrap_or(client.locale), &letter, now).await?;
    tx.commit().await?;
    Ok(Change::Done(LoggedIn { session, device }))
}
