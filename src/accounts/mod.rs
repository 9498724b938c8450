//! What is true of accounts. It knows the database and the hash; it knows no HTTP, no HTML and no mail.
//!
//! Values and tables stand in rooms: [`user`], [`password`], [`token`], [`session`], [`link`], [`limit`], [`event`],
//! [`outbox`], [`apps`], [`signing_key`]. Above them stand the verbs, one file per feature: [`signup`], [`login`],
//! [`authorize`], [`app_proof`], [`forward`], [`password_reset`], [`profile`], [`security`], [`speak_for`], [`not_me`],
//! [`operator`].
//!
//! A verb takes the context [`Accounts`], values and the time. It owns its whole policy: the limits, the transaction, the
//! event, the letter and the ring for the postman. Hashing stays outside of the transaction. A door decodes a request, calls
//! one verb, and encodes the outcome.

pub mod access;
mod admit;
pub mod app_proof;
pub mod apps;
pub mod assertion;
pub mod authorize;
mod client;
mod context;
pub mod event;
pub mod forward;
pub mod limit;
pub mod link;
pub mod login;
pub mod logout;
mod new_device;
pub mod not_me;
pub mod operator;
pub mod outbox;
pub mod password;
pub mod password_reset;
pub mod policy;
pub mod profile;
pub mod refresh_token;
mod replace_password;
pub mod security;
pub mod session;
pub mod shown_token;
mod signed_token;
pub mod signing_key;
pub mod signup;
pub mod speak_for;
pub mod token;
pub mod tokens;
pub mod user;

use std::fmt;

use sea_orm::sea_query::{Expr, InsertStatement, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};
use uuid::Uuid;

pub use client::{Asked, Client};
pub use context::Accounts;
use limit::TooMany;

/// Why a verb has no outcome. What users do wrong is part of the outcome of each verb.
///
/// Every verb and every function of this room can return any of these. What the verb does is not done then.
/// An attempt that was taken stays taken, and an event about it stays written.
#[derive(Debug)]
pub enum Fault {
    /// There were too many attempts; the password or the form was not looked at.
    TooMany(TooMany),
    /// Too many passwords are waiting to be hashed.
    Busy,
    /// The database is out of reach, or refused a statement.
    Database(DbErr),
    /// A state that should not be.
    Internal(String),
}

/// What a verb returns: its outcome, or a [`Fault`].
pub type Result<T, E = Fault> = std::result::Result<T, E>;

impl From<TooMany> for Fault {
    fn from(too_many: TooMany) -> Self {
        Self::TooMany(too_many)
    }
}

impl From<DbErr> for Fault {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(too_many) => write!(f, "too many attempts: {too_many:?}"),
            Self::Busy => f.write_str("too many passwords are waiting to be hashed"),
            Self::Database(error) => write!(f, "database: {error}"),
            Self::Internal(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Fault {}

/// Adds a row, and then deletes the rows that match `which`, except the `most` newest by a column and then by their id. Returns
/// whether `insert` has added a row.
///
/// There are seldom too many, so the statement that adds the row says whether to look. On PostgreSQL a statement does not see what
/// others commit while it waits for the user's row, as that of `session::start` does. If sessions begin at the same time, a few too
/// many may stay until the next one begins. The other callers have locked the user in an earlier statement.
async fn insert_and_keep_newest<E: EntityTrait>(
    conn: &impl ConnectionTrait,
    mut insert: InsertStatement,
    which: Condition,
    (newest, id): (E::Column, E::Column),
    most: u64,
) -> Result<bool> {
    /// How many rows are deleted at once. There is seldom more than one.
    const AT_ONCE: u64 = 100;
    let all = E::find().select_only().column(id).filter(which);
    let is_full = Expr::exists(all.clone().offset(most - 1).limit(1).into_query());
    let Some(added) = conn.query_one(insert.returning(Query::returning().expr(is_full))).await? else {
        return Ok(false);
    };
    if added.try_get_by_index(0)? {
        let older = all.order_by_desc(newest).order_by_desc(id).offset(most).limit(AT_ONCE);
        let older = older.into_tuple::<Uuid>().all(conn).await?;
        if !older.is_empty() {
            E::delete_many().filter(id.is_in(older)).exec(conn).await?;
        }
    }
    Ok(true)
}
