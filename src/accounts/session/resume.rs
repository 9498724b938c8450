//! Who is there: the session that a cookie or a token points at. Every page asks this, so the rows are kept in memory, for as
//! long as they are known not to have changed ([`Changes`](crate::db::Changes)).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use quick_cache::sync::Cache;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryFilter, Set};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{ActiveModel, Column, Entity, Session, SessionKind};
use crate::accounts::Result;
use crate::accounts::policy::Lifetimes;
use crate::accounts::user::{self, User};
use crate::db::{Db, Mark};
use crate::keys::Pointer;

/// `last_seen_at` is written at most once in this time, so that reading a page is not a write.
const SEEN_EVERY: Duration = Duration::minutes(5);
/// How long a copy is used at most, also when nothing tells of a change: an operator may have dropped the triggers.
const COPY_LIVES: Duration = Duration::minutes(1);
/// How many sessions are kept in memory, about 1 KiB each. The others are read from the database.
const KEPT: usize = 10_000;

/// Finds sessions.
pub struct Sessions {
    db: Db,
    copies: Cache<Uuid, Found>,
}

/// A session and its user.
#[derive(Clone)]
pub(in crate::accounts) struct Found {
    pub(in crate::accounts) session: Arc<Session>,
    pub(in crate::accounts) user: Arc<User>,
    /// The user's mark before the rows were read. Without one, this is not kept.
    mark: Option<Mark>,
    read_at: OffsetDateTime,
}

/// A session that goes on.
#[derive(Debug)]
pub struct Resumed {
    /// The session.
    pub session: Arc<Session>,
    /// Its user.
    pub user: Arc<User>,
    /// Whether the row was written just now. A browser's cookie is renewed with it, because its deadline has moved.
    pub renewed: bool,
}

impl Sessions {
    /// Returns the sessions of this database.
    pub fn new(db: Db) -> Self {
        Self { db, copies: Cache::new(KEPT) }
    }

    /// Returns the session that a cookie or token points at, and its user, if it has not ended: from memory, or by one joined
    /// query. Writes nothing.
    pub(in crate::accounts) async fn find(
        &self,
        kind: SessionKind,
        pointer: Pointer,
        now: OffsetDateTime,
    ) -> Result<Option<Found>> {
        // The mark is taken first. Rows that were read before it could be older than it says.
        let mark = self.db.changes().mark(pointer.user);
        let opens = |session: &Session, user: &User| {
            user.id == pointer.user && session.user_id == user.id && session.kind == kind && session.expires_at > now
        };
        if mark.is_some()
            && let Some(copy) = self.copies.get(&pointer.session)
            && copy.mark == mark
            && (Duration::ZERO..COPY_LIVES).contains(&(now - copy.read_at))
            && opens(&copy.session, &copy.user)
        {
            return Ok(Some(copy));
        }
        let rows = Entity::find_by_id(pointer.session).find_also_related(user::Entity).one(self.db.read()).await?;
        let Some((session, Some(user))) =
            rows.filter(|(session, user)| user.as_ref().is_some_and(|user| opens(session, user)))
        else {
            self.copies.remove(&pointer.session); // of what has ended, nothing stays in memory
            return Ok(None);
        };
        let found = Found { session: Arc::new(session), user: Arc::new(user), mark, read_at: now };
        self.keep(&found);
        Ok(Some(found))
    }

    fn keep(&self, found: &Found) {
        if found.mark.is_some() {
            self.copies.insert(found.session.id, found.clone());
        }
    }

    /// Returns the session that a cookie or token points at, if it has not ended, and notes from where it was used.
    ///
    /// The row is the truth: without its row, a cookie or a token opens nothing. At most once in five minutes the row is
    /// written, and its deadline moves. The new deadline may have passed already, if the session began when the operator's
    /// lifetimes were longer.
    pub async fn resume(
        &self,
        (kind, pointer): (SessionKind, Pointer),
        lifetimes: Lifetimes,
        ip: impl FnOnce() -> Option<IpAddr>,
        now: OffsetDateTime,
    ) -> Result<Option<Resumed>> {
        let Some(Found { session, user, mark, read_at }) = self.find(kind, pointer, now).await? else {
            return Ok(None);
        };
        if now - session.last_seen_at < SEEN_EVERY {
            return Ok(Some(Resumed { session, user, renewed: false }));
        }
        let expires_at = match session.kind {
            SessionKind::Browser if session.remember => lifetimes.remembered.deadline(session.created_at, now),
            SessionKind::Browser => lifetimes.until_closed.deadline(session.created_at, now),
            SessionKind::Api => session.expires_at,
        };
        let ip = ip().map(|ip| ip.to_string()).unwrap_or_default();
        let seen = Session { last_seen_at: now, expires_at, ip, ..session.as_ref().clone() };
        let changes = ActiveModel {
            last_seen_at: Set(now),
            expires_at: Set(expires_at),
            ip: Set(seen.ip.clone()),
            ..Default::default()
        };
        // An update of many, because the row may be gone by now, and that is no fault.
        let update = Entity::update_many().set(changes).filter(Column::Id.eq(seen.id));
        if update.exec(self.db.write()).await?.rows_affected == 0 {
            self.copies.remove(&seen.id);
            return Ok(None);
        }
        let seen = Found { session: Arc::new(seen), user, mark, read_at };
        self.keep(&seen); // no trigger tells of this
        let Found { session, user, .. } = seen;
        Ok((expires_at > now).then_some(Resumed { session, user, renewed: true }))
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}
