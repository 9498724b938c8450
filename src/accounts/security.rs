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
pub async fn places(db: &Db, user: &User, now: OffsetDateTime) -> Result<Vec<Session>> {
    session::all(db.read(), user.id, now).await
}

/// Logs one place out; false when the user is not logged in there. Nobody ends another's session, whatever id
/// they send (OWASP, Insecure Direct Object Reference Prevention Cheat Sheet).
///
/// # Errors
/// When the database is out of reach.
pub async fn log_out(db: &Db, user: &User, place: Uuid) -> Result<bool> {
    session::end_one(db.write(), user.id, place).await
}

/// Logs every place out but this one.
///
/// # Errors
/// When the database is out of reach.
pub async fn log_out_others(db: &Db, this: &Session) -> Result<()> {
    session::end_all(db.write(), this.user_id, Some(this.id)).await
}
