//! What is true of accounts. Knows the database and the hash; knows no HTTP, no HTML and no mail.
//!
//! Values: [`email`], [`username`], [`password`], [`token`]. Tables, each entity in the file of its name:
//! [`user`], [`session`], [`reset_token`], [`not_me_link`], [`pending_signup`], [`device`], [`event`], [`limit`], [`outbox`]. Verbs, one
//! file a feature: [`signup`], [`login`], [`password_reset`], [`profile`], [`security`], [`not_me`], [`activity`], [`operator`]. A verb takes
//! values and the time, owns its transaction, and keeps hashing out of it.

pub mod event;
mod flood;
pub mod limit;
pub mod link;
pub mod login;
mod new_device;
pub mod not_me;
pub mod operator;
pub mod outbox;
pub mod password;
pub mod password_reset;
pub mod profile;
pub mod security;
pub mod session;
pub mod signup;
pub mod token;
pub mod user;
pub mod user_agent;

use std::fmt;
use std::sync::Arc;

use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::db::Db;
use crate::locale::{Locale, Translation};
use crate::metrics::Metrics;
use limit::Limits;
use password::hasher::Hasher;
use session::Lifetimes;
use token::Token;

/// What goes wrong without being anybody's mistake. What people do wrong is a value each verb returns.
#[derive(Debug)]
pub enum Fault {
    /// Too many passwords are waiting to be hashed.
    Busy,
    /// The database is out of reach, or refused a statement.
    Database(DbErr),
    /// A state that should not be.
    Internal(String),
}

/// What a verb returns: what it came to, or a fault.
pub type Result<T, E = Fault> = std::result::Result<T, E>;

impl From<DbErr> for Fault {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too many passwords are waiting to be hashed"),
            Self::Database(error) => write!(f, "database: {error}"),
            Self::Internal(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Fault {}

/// Deletes the rows that match `which`, but for the `most` newest by a column and then by their id.
async fn keep_newest<E: EntityTrait>(
    conn: &impl ConnectionTrait,
    which: Condition,
    (newest, id): (E::Column, E::Column),
    most: u64,
) -> Result<()> {
    /// How many are deleted at once. It is seldom more than one.
    const AT_ONCE: u64 = 100;
    let rows = E::find().select_only().column(id).filter(which).order_by_desc(newest).order_by_desc(id);
    let older = rows.offset(most).limit(AT_ONCE).into_tuple::<Uuid>().all(conn).await?;
    if !older.is_empty() {
        E::delete_many().filter(id.is_in(older)).exec(conn).await?;
    }
    Ok(())
}

/// What verbs work with that hash, or count.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// The tables.
    pub db: Db,
    /// For passwords.
    pub hasher: Hasher,
    /// For tries.
    pub limits: Limits,
    /// For sessions.
    pub lifetimes: Lifetimes,
    /// For the operator.
    pub metrics: Arc<Metrics>,
}

/// Who asks, as far as the network tells.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The address.
    pub ip: String,
    /// What the browser says of itself; text of a stranger.
    pub user_agent: String,
    /// The language of the page that asks.
    pub locale: Locale,
    /// The language that was chosen in this browser, if one was.
    pub chosen: Option<Locale>,
    /// The name of this browser, if somebody has logged in here before.
    pub device: Option<Token>,
    /// The number of the request, in the log.
    pub request_id: String,
}

/// When and from where something was asked or done, for the letter and the event about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// From which address.
    pub ip: String,
    /// With which browser, as it says itself.
    #[serde(default)]
    pub user_agent: String,
    /// The number of the request, in the log.
    #[serde(default)]
    pub request_id: String,
}

impl Asked {
    fn new(client: &Client, now: OffsetDateTime) -> Self {
        let (ip, request_id) = (client.ip.clone(), client.request_id.clone());
        Self { at: now, ip, user_agent: session::shortened(&client.user_agent), request_id }
    }

    /// By a command on the server, which has no address and no browser.
    fn of_a_command(now: OffsetDateTime) -> Self {
        Self { at: now, ip: String::new(), user_agent: String::new(), request_id: String::new() }
    }

    /// With which browser, in words.
    pub fn browser(&self, t: &Translation) -> String {
        user_agent::words(&self.user_agent, t)
    }
}
