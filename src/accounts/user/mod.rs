//! `users`: the users, and how they are looked up.

mod confusable;
pub mod email;
pub mod username;

use std::collections::HashSet;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::LockType;
use sea_orm::{IntoActiveModel, QuerySelect, Set, SqlErr};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::Result;
use crate::accounts::password::HashedPassword;
use crate::accounts::user::email::Email;
use crate::accounts::user::username::Username;
use crate::chance;
use crate::locale::Locale;

/// A user.
pub type User = Model;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub email: Email,
    #[sea_orm(unique)]
    pub email_canonical: String,
    pub username: String,
    #[sea_orm(unique)]
    pub username_canonical: String,
    pub full_name: String,
    pub hashed_password: HashedPassword,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub locale: Option<String>,
    pub first_locale: Option<String>,
    pub password_changed_at: Option<OffsetDateTime>,
    pub disabled_at: Option<OffsetDateTime>,
    pub email_proven_at: Option<OffsetDateTime>,
}

impl Model {
    /// Returns whether any password opens the account. After “this was not me” none does, until a reset by email.
    pub fn has_password(&self) -> bool {
        !self.hashed_password.is_none()
    }

    /// Returns whether the owner has opened a link that was sent to the address, or the operator vouches for it. Where sign-up
    /// is open, anybody can type any address.
    pub fn email_is_proven(&self) -> bool {
        self.email_proven_at.is_some()
    }

    /// Returns whether the operator has disabled the account.
    pub fn is_disabled(&self) -> bool {
        self.disabled_at.is_some()
    }

    /// Returns whether a link that was sent to this canonical address still belongs to the user: the account has that
    /// address, and is not disabled. The reader of an older mailbox need not be the owner.
    pub(in crate::accounts) fn owns_link_to(&self, email_at_issue: &str) -> bool {
        self.email_canonical == email_at_issue && !self.is_disabled()
    }

    /// Returns what an attacker would know of the user, and guess in a password: address and names.
    pub(in crate::accounts) fn about(&self) -> [&str; 3] {
        [self.email.as_str(), &self.username, &self.full_name]
    }

    /// Returns the language that the user has chosen, if Latchkey has it.
    pub fn locale(&self) -> Option<Locale> {
        self.locale.as_deref()?.parse().ok()
    }

    /// Returns the language to write to the user in: the one that the user has chosen, or else the one of the sign-up, or
    /// else that of the request. A stranger who asks for an email to the user does not choose its language.
    pub fn letter_locale(&self, of_request: Locale) -> Locale {
        let first = || self.first_locale.as_deref()?.parse().ok();
        self.locale().or_else(first).unwrap_or(of_request)
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A name that another user has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The address.
    Email,
    /// The username.
    Username,
}

/// A user who does not exist yet.
#[derive(Debug)]
pub(in crate::accounts) struct NewUser {
    pub email: Email,
    pub username: Username,
    pub full_name: String,
    pub hashed_password: HashedPassword,
    /// The language that the user has chosen, if any.
    pub locale: Option<Locale>,
    /// The language of the sign-up.
    pub first_locale: Locale,
    /// Whether the address is known to be the user's.
    pub email_is_proven: bool,
}

/// Adds a user. The unique columns decide whether a name is taken: a read before the insert could not see another user who
/// is inserted at the same moment.
pub(in crate::accounts) async fn insert(
    conn: &impl ConnectionTrait,
    new: NewUser,
    now: OffsetDateTime,
) -> Result<Result<User, Taken>> {
    let user = User {
        id: chance::id(),
        email_canonical: new.email.canonical(),
        email: new.email,
        username: new.username.as_str().to_owned(),
        username_canonical: new.username.canonical().to_owned(),
        full_name: new.full_name,
        hashed_password: new.hashed_password,
        created_at: now,
        updated_at: now,
        locale: new.locale.map(|locale| locale.tag().to_owned()),
        first_locale: Some(new.first_locale.tag().to_owned()),
        password_changed_at: None,
        disabled_at: None,
        email_proven_at: new.email_is_proven.then_some(now),
    };
    match user.into_active_model().reset_all().insert(conn).await {
        Ok(user) => Ok(Ok(user)),
        Err(error) => Ok(Err(taken(error)?)),
    }
}

/// Reads an error of the unique columns; any other stays an error.
fn taken(error: DbErr) -> Result<Taken> {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(column)) if column.contains("username_canonical") => Ok(Taken::Username),
        Some(SqlErr::UniqueConstraintViolation(column)) if column.contains("email_canonical") => Ok(Taken::Email),
        _ => Err(error.into()),
    }
}

/// Returns the user with this id.
pub async fn by_id(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<User>> {
    Ok(Entity::find_by_id(id).one(conn).await?)
}

/// Returns the user with this address.
pub async fn by_email(conn: &impl ConnectionTrait, email: &Email) -> Result<Option<User>> {
    Ok(Entity::find().filter(Column::EmailCanonical.eq(email.canonical())).one(conn).await?)
}

/// Returns the user with this address, locked until the transaction ends where rows can be locked.
pub(in crate::accounts) async fn by_email_locked(conn: &impl ConnectionTrait, email: &Email) -> Result<Option<User>> {
    let rows = Entity::find().filter(Column::EmailCanonical.eq(email.canonical()));
    Ok(rows.lock(LockType::NoKeyUpdate).one(conn).await?)
}

/// Returns the canonical addresses of these users.
pub(in crate::accounts) async fn addresses(
    conn: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<String>> {
    let addresses = Entity::find().select_only().column(Column::EmailCanonical).filter(Column::Id.is_in(ids));
    Ok(addresses.into_tuple().all(conn).await?)
}

/// Returns those of these canonical addresses that have an account which is not disabled.
pub(in crate::accounts) async fn with_account(
    conn: &impl ConnectionTrait,
    addresses: impl IntoIterator<Item = String>,
) -> Result<HashSet<String>> {
    let found = Entity::find().select_only().column(Column::EmailCanonical);
    let found = found.filter(Column::EmailCanonical.is_in(addresses)).filter(Column::DisabledAt.is_null());
    let found = found.into_tuple().all(conn).await?;
    Ok(found.into_iter().collect())
}

/// Returns the user with this username.
pub async fn by_username(conn: &impl ConnectionTrait, username: &Username) -> Result<Option<User>> {
    Ok(Entity::find().filter(Column::UsernameCanonical.eq(username.canonical())).one(conn).await?)
}

/// Returns the user with this address or username.
pub async fn by_login(conn: &impl ConnectionTrait, login: &str) -> Result<Option<User>> {
    match has_login(login) {
        Some(has_login) => Ok(Entity::find().filter(has_login).one(conn).await?),
        None => Ok(None),
    }
}

/// Returns the condition that a user has this address or username, or `None` if nobody can have it. No username has an `@`, so a
/// text is never both.
pub(in crate::accounts) fn has_login(login: &str) -> Option<Expr> {
    if let Ok(email) = Email::parse(login) {
        Some(Column::EmailCanonical.eq(email.canonical()))
    } else if let Ok(username) = Username::parse(login) {
        Some(Column::UsernameCanonical.eq(username.canonical()))
    } else {
        None
    }
}

/// Finds the user if the password is still this one, and locks it until the transaction ends where rows can be locked.
///
/// Between the check of a password and its use lie 10 to 20 ms of hashing. A reset may end in them, and a password that was
/// checked before it must not open anything after it.
pub(in crate::accounts) fn locked_if_password_is(id: Uuid, password: &HashedPassword) -> Select<Entity> {
    Entity::find_by_id(id).filter(Column::HashedPassword.eq(password.clone())).lock(LockType::NoKeyUpdate)
}

/// Locks the user's row until the transaction ends, where rows can be locked. Returns the user as it is now, or `None` if
/// it was deleted.
///
/// A transaction that changes more than one row of an account locks the user before anything else. Then no two of them wait
/// for each other.
pub(in crate::accounts) async fn lock(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<User>> {
    Ok(Entity::find_by_id(id).lock(LockType::NoKeyUpdate).one(conn).await?)
}

/// Replaces the hash in `user` by a newer kind of hash of the same password, if it is still there. Returns whether it was.
pub(in crate::accounts) async fn renew_hash(
    conn: &impl ConnectionTrait,
    user: &User,
    fresh: HashedPassword,
    now: OffsetDateTime,
) -> Result<bool> {
    let row = ActiveModel { hashed_password: Set(fresh), updated_at: Set(now), ..Default::default() };
    let same = Entity::update_many().set(row).filter(Column::Id.eq(user.id));
    let done = same.filter(Column::HashedPassword.eq(user.hashed_password.clone())).exec(conn).await?;
    Ok(done.rows_affected == 1)
}

/// Gives the user another password hash.
pub(in crate::accounts) async fn set_password(
    conn: &impl ConnectionTrait,
    id: Uuid,
    password: HashedPassword,
    proves_email: bool,
    now: OffsetDateTime,
) -> Result<()> {
    let mut row = ActiveModel {
        id: Set(id),
        hashed_password: Set(password),
        password_changed_at: Set(Some(now)),
        updated_at: Set(now),
        ..Default::default()
    };
    if proves_email {
        row.email_proven_at = Set(Some(now));
    }
    row.update(conn).await?;
    Ok(())
}

/// Disables the user's account, or enables it with `None`. Returns `true` for exactly one caller.
pub(in crate::accounts) async fn set_disabled(
    conn: &impl ConnectionTrait,
    id: Uuid,
    disabled_at: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Result<bool> {
    let was = if disabled_at.is_some() { Column::DisabledAt.is_null() } else { Column::DisabledAt.is_not_null() };
    let row = ActiveModel { disabled_at: Set(disabled_at), updated_at: Set(now), ..Default::default() };
    let update = Entity::update_many().set(row).filter(Column::Id.eq(id)).filter(was);
    Ok(update.exec(conn).await?.rows_affected == 1)
}

/// Gives the user another address. As in [`insert`], the unique column decides whether it is taken.
pub(in crate::accounts) async fn set_email(
    conn: &impl ConnectionTrait,
    id: Uuid,
    email: &Email,
    now: OffsetDateTime,
) -> Result<Result<(), Taken>> {
    let row = ActiveModel {
        id: Set(id),
        email: Set(email.clone()),
        email_canonical: Set(email.canonical()),
        email_proven_at: Set(Some(now)), // on the operator's word
        updated_at: Set(now),
        ..Default::default()
    };
    match row.update(conn).await {
        Ok(_) => Ok(Ok(())),
        Err(error) => Ok(Err(taken(error)?)),
    }
}

/// Takes the user's password away, so that none opens the account. Returns `true` for exactly one caller.
///
/// The stored hash itself is deleted, instead of a flag beside it being set. So every statement that compares the hash,
/// such as the start of a session, refuses the old password without knowing about this.
pub(in crate::accounts) async fn take_password(
    conn: &impl ConnectionTrait,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<bool> {
    let none = HashedPassword::none();
    let row = ActiveModel { hashed_password: Set(none.clone()), updated_at: Set(now), ..Default::default() };
    let update = Entity::update_many().set(row).filter(Column::Id.eq(id)).filter(Column::HashedPassword.ne(none));
    Ok(update.exec(conn).await?.rows_affected == 1)
}

/// Returns every user, in the order of sign-up.
pub async fn all(conn: &impl ConnectionTrait) -> Result<Vec<User>> {
    use sea_orm::QueryOrder;
    Ok(Entity::find().order_by_asc(Column::Id).all(conn).await?)
}

/// Returns whether there is any user.
pub async fn any(conn: &impl ConnectionTrait) -> Result<bool> {
    Ok(Entity::find().one(conn).await?.is_some())
}

/// Deletes the user's row, and with it the user's sessions, links and events (by the foreign keys). It is a part of
/// [`operator::delete`](crate::accounts::operator::delete), which deletes what other tables hold of the user.
pub(in crate::accounts) async fn delete_row(conn: &impl ConnectionTrait, id: Uuid) -> Result<()> {
    Entity::delete_by_id(id).exec(conn).await?;
    Ok(())
}
