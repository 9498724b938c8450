//! `users`: the people.

mod confusable;
pub mod email;
pub mod username;

use std::collections::HashSet;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::LockType;
use sea_orm::{QuerySelect, Set, SqlErr};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::Result;
use crate::accounts::password::HashedPassword;
use crate::accounts::user::email::Email;
use crate::accounts::user::username::Username;
use crate::locale::Locale;

/// A person with an account.
pub type User = Model;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub email: String,
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
}

impl Model {
    /// Whether any password opens the account. After “this was not me” none does, until a reset by email.
    pub fn has_password(&self) -> bool {
        !self.hashed_password.is_none()
    }

    /// Returns whether the operator has disabled the account.
    pub fn is_disabled(&self) -> bool {
        self.disabled_at.is_some()
    }

    /// Whether a link that was mailed to this canonical address still belongs to the user: the account has that address, and
    /// is not disabled. The reader of an older mailbox need not be the owner.
    pub(in crate::accounts) fn owns_link_to(&self, email_at_issue: &str) -> bool {
        self.email_canonical == email_at_issue && !self.is_disabled()
    }

    /// What an attacker would know of the user, and try in a password: address and names.
    pub fn about(&self) -> [&str; 3] {
        [&self.email, &self.username, &self.full_name]
    }

    /// The language that the user has chosen, if it is one that we have.
    pub fn locale(&self) -> Option<Locale> {
        self.locale.as_deref()?.parse().ok()
    }

    /// The language to write to the user in: the one they have chosen, else the one in which they made the
    /// account. Whoever asks for a letter to somebody else has no say in it.
    pub fn letter_locale(&self) -> Option<Locale> {
        self.locale().or_else(|| self.first_locale.as_deref()?.parse().ok())
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Which of a user's names somebody else has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The address.
    Email,
    /// The username.
    Username,
}

impl Taken {
    /// The name of its field in forms, at both doors.
    pub fn field(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Username => "username",
        }
    }
}

/// Adds a user. The unique columns are the judge: a look before the insert could not see a twin that is
/// being inserted at the same moment.
pub(in crate::accounts) async fn insert(conn: &impl ConnectionTrait, user: User) -> Result<Result<User, Taken>> {
    let row: ActiveModel = user.into();
    match row.reset_all().insert(conn).await {
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

/// The user with this id.
///
/// # Errors
/// When the database is out of reach.
pub async fn by_id(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<User>> {
    Ok(Entity::find_by_id(id).one(conn).await?)
}

/// The user with this address.
///
/// # Errors
/// When the database is out of reach.
pub async fn by_email(conn: &impl ConnectionTrait, email: &Email) -> Result<Option<User>> {
    Ok(Entity::find().filter(Column::EmailCanonical.eq(email.canonical())).one(conn).await?)
}

/// The user with this address, locked until the transaction ends where rows can be locked.
pub(in crate::accounts) async fn by_email_locked(conn: &impl ConnectionTrait, email: &Email) -> Result<Option<User>> {
    let this = Entity::find().filter(Column::EmailCanonical.eq(email.canonical()));
    Ok(this.lock(LockType::NoKeyUpdate).one(conn).await?)
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

/// The user with this username.
///
/// # Errors
/// When the database is out of reach.
pub async fn by_username(conn: &impl ConnectionTrait, username: &Username) -> Result<Option<User>> {
    Ok(Entity::find().filter(Column::UsernameCanonical.eq(username.canonical())).one(conn).await?)
}

/// The user whom a person means who types an address or a username. No username holds an `@`, so the two
/// never meet.
///
/// # Errors
/// When the database is out of reach.
pub async fn by_login(conn: &impl ConnectionTrait, login: &str) -> Result<Option<User>> {
    if let Ok(email) = Email::parse(login) {
        by_email(conn, &email).await
    } else if let Ok(username) = Username::parse(login) {
        by_username(conn, &username).await
    } else {
        Ok(None)
    }
}

/// The user, if the password is still this one; locked until the transaction ends where rows can be locked.
///
/// Between a password's check and its use lie 20 ms of hashing. A reset may end in them, and what was
/// checked before it must not open anything after it.
pub(in crate::accounts) async fn still(
    conn: &impl ConnectionTrait,
    id: Uuid,
    password: &HashedPassword,
) -> Result<Option<User>> {
    let same = Entity::find_by_id(id).filter(Column::HashedPassword.eq(password.clone()));
    Ok(same.lock(LockType::NoKeyUpdate).one(conn).await?)
}

/// Locks the user's row until the transaction ends, where rows can be locked. Returns the user as it is now, or `None` if it
/// was deleted.
pub(in crate::accounts) async fn lock(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<User>> {
    Ok(Entity::find_by_id(id).lock(LockType::NoKeyUpdate).one(conn).await?)
}

/// Puts a newer kind of hash of the same password in the place of the one in `user`, if it is still there.
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
    now: OffsetDateTime,
) -> Result<()> {
    let row = ActiveModel {
        id: Set(id),
        hashed_password: Set(password),
        password_changed_at: Set(Some(now)),
        updated_at: Set(now),
        ..Default::default()
    };
    row.update(conn).await?;
    Ok(())
}

/// Disables the user's account, or enables it with `None`; true for exactly one caller.
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

/// Gives the user another address. As in [`insert`], the unique column is the judge.
pub(in crate::accounts) async fn set_email(
    conn: &impl ConnectionTrait,
    id: Uuid,
    email: &Email,
    now: OffsetDateTime,
) -> Result<Result<(), Taken>> {
    let row = ActiveModel {
        id: Set(id),
        email: Set(email.as_str().to_owned()),
        email_canonical: Set(email.canonical().to_owned()),
        updated_at: Set(now),
        ..Default::default()
    };
    match row.update(conn).await {
        Ok(_) => Ok(Ok(())),
        Err(error) => Ok(Err(taken(error)?)),
    }
}

/// Takes the user's password away, so that none opens the account; true for exactly one caller.
///
/// The stored hash itself goes, and no flag beside it is set: every statement that compares the hash, such as the start
/// of a session, then refuses the old password without knowing about this.
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

/// Every user, in the order of their arrival.
///
/// # Errors
/// When the database is out of reach.
pub async fn all(conn: &impl ConnectionTrait) -> Result<Vec<User>> {
    use sea_orm::QueryOrder;
    Ok(Entity::find().order_by_asc(Column::Id).all(conn).await?)
}

/// Returns whether there is any user.
///
/// # Errors
/// When the database is out of reach.
pub async fn any(conn: &impl ConnectionTrait) -> Result<bool> {
    Ok(Entity::find().one(conn).await?.is_some())
}

/// Deletes the user, and with them their sessions and links.
///
/// # Errors
/// When the database is out of reach.
pub async fn delete(conn: &impl ConnectionTrait, id: Uuid) -> Result<()> {
    Entity::delete_by_id(id).exec(conn).await?;
    Ok(())
}
