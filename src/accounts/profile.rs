//! What a user who is logged in changes about the account.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::login::LoggedIn;
use crate::accounts::password::{Password, PasswordError};
use crate::accounts::replace_password::{Proof, Replaced, replace};
use crate::accounts::session::Session;
use crate::accounts::user::username::FullName;
use crate::accounts::user::{self, User};
use crate::accounts::{Accounts, Asked, Client, Result, event};
use crate::db::Db;
use crate::locale::Locale;

/// Changes the full name.
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

/// Saves the language of pages and emails. With `None`, pages follow the browser.
pub async fn choose_language(db: &Db, user: Uuid, locale: Option<Locale>, now: OffsetDateTime) -> Result<()> {
    let tag = locale.map(|locale| locale.tag().to_owned());
    let row = user::ActiveModel { locale: Set(tag), updated_at: Set(now), ..Default::default() };
    // An update of many: a user who was deleted a moment ago is no fault.
    user::Entity::update_many().set(row).filter(user::Column::Id.eq(user)).exec(db.write()).await?;
    Ok(())
}

/// The passwords that were typed to change one into the other.
#[derive(Clone, Copy, Debug)]
pub struct Passwords<'a> {
    /// The current one.
    pub current: &'a str,
    /// The new one.
    pub new: &'a str,
}

/// What is wrong with the current password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CurrentPasswordError {
    /// None was typed.
    Empty,
    /// It is not the password.
    Wrong,
}

/// The outcome of a change of the password.
#[derive(Debug)]
pub enum Change {
    /// The password is changed. The session has another id now, and the browser another device token.
    Done(Box<LoggedIn>),
    /// One of the two passwords is not accepted, or both. Nothing has changed.
    Invalid {
        /// What is wrong with the current one.
        current: Option<CurrentPasswordError>,
        /// What is wrong with the new one.
        new: Option<PasswordError>,
    },
    /// The session has ended meanwhile. Nothing has changed.
    SessionEnded,
    /// The account has no password. Only a reset by email gives it one.
    NoPassword,
}

/// Changes the password of a user who knows the current one. Copies of this browser's cookies stop working as well. Both
/// passwords are checked, so that the answer names both mistakes.
///
/// A session alone is not enough: it may be a browser that was left open, or a stolen cookie (OWASP, Authentication Cheat
/// Sheet, “Require Re-authentication for Sensitive Features”).
///
/// # Errors
/// [`Fault::TooMany`] if the current password was not looked at.
pub async fn change_password(
    accounts: &Accounts,
    (user, session): (&User, &Session),
    typed: Passwords<'_>,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Change> {
    let Accounts { db, hasher, limits, .. } = accounts;
    let hasher = hasher.for_the_known();
    let new = accounts.judge(&hasher, typed.new, user.about()).await?;
    let invalid = |current, new| Ok(Change::Invalid { current, new });
    if typed.current.is_empty() {
        return invalid(Some(CurrentPasswordError::Empty), new.err());
    }
    if !user.has_password() {
        return Ok(Change::NoPassword);
    }
    let (current, bucket) = (Password::new(typed.current), limits.accounts.current_password(user.id));
    let admission = limits.accounts.take(db, &bucket, now).await??;
    let _place = hasher.hold(&user.id.to_string()).await?;
    let passwords = (current.clone(), Some(user.hashed_password.clone()));
    let verdict = accounts.compare(&hasher, passwords, &bucket).await?;
    if !verdict.matches {
        event::record_failure(accounts, Some(user.id), admission, &Asked::new(client, now)).await?;
        return invalid(Some(CurrentPasswordError::Wrong), new.err());
    }
    let new = match new.map(|new| new.into_inner()) {
        Ok(new) if !new.is(&current) => new,
        refused => {
            limits.accounts.forgive(db.write(), &bucket).await?;
            return invalid(None, Some(refused.err().unwrap_or(PasswordError::Same)));
        }
    };
    let hashed_password = hasher.hash(new).await?;

    let tx = db.begin().await?;
    let by_password = (user, Proof::Password(session), hashed_password);
    match replace(&tx, accounts, by_password, client, now).await? {
        Replaced::Done { session: Some(session), device, post } => {
            tx.commit().await?;
            accounts.ring(post);
            Ok(Change::Done(Box::new(LoggedIn { session, user: user.clone(), device })))
        }
        Replaced::ProofGone => invalid(Some(CurrentPasswordError::Wrong), None),
        Replaced::Done { session: None, .. } | Replaced::SessionEnded => Ok(Change::SessionEnded),
    }
}
