//! Logging in and out.

use time::OffsetDateTime;
use uuid::Uuid;

use super::hasher::Hasher;
use super::password::Password;
use super::session::{self, Lasting, Session};
use super::user;
use super::{Client, Result};
use crate::db::Db;

/// Starts a session for whoever `login` (an address or a username) names, if the password is theirs.
/// `None` says no more than that: no such user, another password, nothing typed and far too much typed get
/// the same answer for the same work.
///
/// # Errors
/// When the database is out of reach or too many passwords are waiting.
pub async fn with_password(
    db: &Db,
    hasher: &Hasher,
    (login, password): (&str, Password),
    lasting: Lasting,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Option<Session>> {
    let user = user::by_login(db.read(), login).await?;
    let stored = user.as_ref().map(|user| user.hashed_password.clone());
    let verdict = hasher.verify(password.clone(), stored).await?;
    let Some(mut user) = user.filter(|_| verdict.matches) else { return Ok(None) };
    if verdict.outdated {
        let fresh = hasher.hash(password).await?;
        if !user::renew_hash(db.write(), &user, fresh.clone(), now).await? {
            return Ok(None);
        }
        user.hashed_password = fresh;
    }
    session::start(db.write(), &user, lasting, client, now).await
}

/// Ends the session; its cookie is worthless from here on, wherever copies of it are.
///
/// # Errors
/// When the database is out of reach.
pub async fn log_out(db: &Db, session: Uuid) -> Result<()> {
    session::end(db.write(), session).await
}
