//! Logging in and out.

use time::OffsetDateTime;
use uuid::Uuid;

use super::hasher::Hasher;
use super::password::Password;
use super::session::{self, Session};
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
    remember: bool,
    client: &Client,
    now: OffsetDateTime,
) -> Result<Option<Session>> {
    let user = user::by_login(db.read(), login).await?;
    let stored = user.as_ref().map(|user| user.hashed_password.clone());
    let verdict = hasher.verify(password.clone(), stored).await?;
    let Some(mut user) = user.filter(|_| verdict.matches) else { return Ok(None) };
    let fresh = if verdict.outdated { Some(hasher.hash(password).await?) } else { None };

    let tx = db.begin().await?;
    if user::still(&tx, user.id, &user.hashed_password).await?.is_none() {
        return Ok(None);
    }
    if let Some(fresh) = fresh {
        user::set_password(&tx, user.id, fresh.clone(), now).await?;
        user.hashed_password = fresh;
    }
    let session = session::start(&tx, &user, remember, client, now).await?;
    tx.commit().await?;
    Ok(Some(session))
}

/// Ends the session; its cookie is worthless from here on, wherever copies of it are.
///
/// # Errors
/// When the database is out of reach.
pub async fn log_out(db: &Db, session: Uuid) -> Result<()> {
    session::end(db.write(), session).await
}
