//! Where a person is logged in, and how they end it.

use time::OffsetDateTime;
use uuid::Uuid;

use super::Result;
use super::session::{self, Session};
use super::user::User;
use crate::db::Db;

/// The sessions of the user, the one used last first.
///
/// # Errors
/// When the database is out of reach.
pub async fn sessions(db: &Db, user: &User, now: OffsetDateTime) -> Result<Vec<Session>> {
    session::all(db.read(), user.id, now).await
}

/// Ends one session of the user. Nobody ends another's, whatever id they send (OWASP, Insecure Direct Object
/// Reference Prevention Cheat Sheet).
///
/// # Errors
/// When the database is out of reach.
pub async fn end(db: &Db, user: &User, session: Uuid) -> Result<()> {
    session::end_one(db.write(), user.id, session).await
}

/// Ends every session of the user but this one.
///
/// # Errors
/// When the database is out of reach.
pub async fn end_others(db: &Db, this: &Session) -> Result<()> {
    session::end_all(db.write(), this.user_id, Some(this.id)).await
}
