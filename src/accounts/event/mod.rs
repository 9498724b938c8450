//! `events`: what happened to an account, for its owner to look through, and for the operator in the log.
//!
//! A row is written in the transaction of its cause, and carries the number of the request, which is on every line
//! that the request left in the log (OWASP, Logging Cheat Sheet).

pub mod activity;

use std::time::Instant;

use sea_orm::entity::prelude::*;
use sea_orm::{Condition, QueryOrder, QuerySelect, Set};
use time::{Duration, OffsetDateTime};
use tracing::{info, warn};
use uuid::Uuid;

use crate::accounts::limit::Limits;
use crate::accounts::{Accounts, Asked, Result};
use crate::chance;
use crate::db::delete_in_batches;
use crate::metrics::Metrics;
use crate::notice::Notice;
use crate::throttle::Taken;

/// Something that happened.
pub type Event = Model;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "events")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub at: OffsetDateTime,
    pub kind: Kind,
    pub user_id: Option<Uuid>,
    pub ip: String,
    pub user_agent: String,
    pub request_id: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Kind {
    /// What anybody can cause who knows a name or an address, as often as they like.
    const BY_ANYBODY: [Self; 4] = [Self::LogInFailed, Self::LimitHit, Self::ResetAsked, Self::CrossSiteRefused];

    /// Returns whether anybody can cause it who knows a name or an address.
    pub(in crate::accounts) fn is_by_anybody(self) -> bool {
        Self::BY_ANYBODY.contains(&self)
    }

    /// Returns whether it was done by a command on the server, which has no browser and no address.
    pub fn is_by_operator(self) -> bool {
        matches!(
            self,
            Self::ResetLinkMade
                | Self::UserCreated
                | Self::UserDisabled
                | Self::UserEnabled
                | Self::UserDeleted
                | Self::EmailSet
                | Self::LoggedOut
                | Self::KeysRotated
                | Self::KeysDropped
        )
    }
}

impl Model {
    /// Whether the same happened in the same browser at the same address.
    pub(in crate::accounts) fn is_like(&self, other: &Self) -> bool {
        (self.kind, &self.ip, &self.user_agent) == (other.kind, &other.ip, &other.user_agent)
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::None)", rename_all = "snake_case")]
pub enum Kind {
    /// The account was made.
    SignUp,
    /// Somebody logged in with the password.
    LogIn,
    /// A program got a token with it.
    Token,
    /// The password was not right.
    LogInFailed,
    /// There were so many of those that the next ones have to wait.
    LimitHit,
    /// The person logged out.
    LogOut,
    /// A session was ended from another one.
    SessionEnded,
    /// All other sessions were ended from one.
    OthersEnded,
    /// The user said of a log-in that it was not theirs: it has ended, and no password opens the account.
    NotMe,
    /// The password was changed by somebody who knew it.
    PasswordChanged,
    /// A reset link went out.
    ResetAsked,
    /// The password was changed with such a link.
    ResetDone,
    /// Another site made the person's browser send a form.
    CrossSiteRefused,
    /// The operator made a reset link by a command.
    ResetLinkMade,
    /// The right password was typed, but the account is disabled.
    LogInDisabled,
    /// The operator made the account by a command.
    UserCreated,
    /// The operator disabled the account by a command.
    UserDisabled,
    /// The operator enabled the account again by a command.
    UserEnabled,
    /// The operator gave the account another address by a command.
    EmailSet,
    /// The operator ended sessions of the user by a command.
    LoggedOut,
    /// The operator deleted the account by a command. Kept without the user.
    UserDeleted,
    /// The operator put a fresh secret first.
    KeysRotated,
    /// The operator dropped old secrets.
    KeysDropped,
}

/// How long events are kept that are nobody's, which anybody can make as many of as they like.
const NOBODYS_KEPT: Duration = Duration::days(7);

/// Notes what anybody can cause, unless there is too much of it: see [`flood::Events`]. What is left out is counted, with one
/// line a minute in the log.
pub(in crate::accounts) async fn record_of_stranger(
    conn: &impl ConnectionTrait,
    (limits, metrics): (&Limits, &Metrics),
    (kind, user): (Kind, Option<Uuid>),
    asked: &Asked,
) -> Result<()> {
    if !limits.is_on() || limits.events.admit(user, asked.at) {
        return record(conn, kind, user, asked).await;
    }
    static LEFT_OUT: Notice = Notice::new();
    metrics.events_left_out.inc();
    if let Some(count) = LEFT_OUT.count(Instant::now()) {
        warn!(count, "strangers cause more events than are written; these were left out");
    }
    Ok(())
}

/// Notes what happened, in the table and in the log. Without a user it is for the operator only.
pub(in crate::accounts) async fn record(
    conn: &impl ConnectionTrait,
    kind: Kind,
    user: Option<Uuid>,
    asked: &Asked,
) -> Result<()> {
    insert(conn, kind, user, asked).await?;
    log(kind, user, asked);
    Ok(())
}

/// Notes that a user was deleted. The row does not say which one, so that nothing of the user is left in the database;
/// the log has the id.
pub(in crate::accounts) async fn record_deleted(conn: &impl ConnectionTrait, user: Uuid, asked: &Asked) -> Result<()> {
    insert(conn, Kind::UserDeleted, None, asked).await?;
    log(Kind::UserDeleted, Some(user), asked);
    Ok(())
}

async fn insert(conn: &impl ConnectionTrait, kind: Kind, user: Option<Uuid>, asked: &Asked) -> Result<()> {
    let row = ActiveModel {
        id: Set(chance::id()),
        at: Set(asked.at),
        kind: Set(kind),
        user_id: Set(user),
        ip: Set(asked.ip.clone()),
        user_agent: Set(asked.user_agent.clone()),
        request_id: Set(asked.request_id.clone()),
    };
    row.insert(conn).await?;
    Ok(())
}

fn log(kind: Kind, user: Option<Uuid>, asked: &Asked) {
    info!(
        target: "latchkey::event",
        event = kind.to_value(),
        user = user.map(tracing::field::display),
        ip = asked.ip,
        user_agent = asked.user_agent,
        request = asked.request_id,
    );
}

/// Notes a password that was not right, and that it was the last for now.
pub(in crate::accounts) async fn record_miss(
    Accounts { db, limits, metrics, .. }: &Accounts,
    user: Option<Uuid>,
    taken: Taken,
    asked: &Asked,
) -> Result<()> {
    let tx = db.begin().await?;
    record_of_stranger(&tx, (limits, metrics), (Kind::LogInFailed, user), asked).await?;
    if taken.last {
        record_of_stranger(&tx, (limits, metrics), (Kind::LimitHit, user), asked).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The newest events of the user, the newest first: those that anybody can cause, or the others.
pub(in crate::accounts) async fn newest(
    conn: &impl ConnectionTrait,
    user: Uuid,
    by_anybody: bool,
    most: u64,
) -> Result<Vec<Event>> {
    let kinds = Kind::BY_ANYBODY;
    let these = if by_anybody { Column::Kind.is_in(kinds) } else { Column::Kind.is_not_in(kinds) };
    let those = Entity::find().filter(Column::UserId.eq(user)).filter(these);
    Ok(those.order_by_desc(Column::At).order_by_desc(Column::Id).limit(most).all(conn).await?)
}

/// Every event of the user that is kept, the newest first.
///
/// # Errors
/// When the database is out of reach.
pub async fn all(conn: &impl ConnectionTrait, user: Uuid) -> Result<Vec<Event>> {
    let events = Entity::find().filter(Column::UserId.eq(user));
    Ok(events.order_by_desc(Column::At).order_by_desc(Column::Id).all(conn).await?)
}

/// The newest event of this kind in the user's account.
pub(in crate::accounts) async fn last(conn: &impl ConnectionTrait, user: Uuid, kind: Kind) -> Result<Option<Event>> {
    let events = Entity::find().filter(Column::UserId.eq(user)).filter(Column::Kind.eq(kind));
    Ok(events.order_by_desc(Column::Id).one(conn).await?)
}

/// Deletes what is older than `kept`, and what anybody can cause, is nobody's and a week old; returns how many.
///
/// # Errors
/// When the database is out of reach.
pub async fn sweep(conn: &impl ConnectionTrait, kept: Duration, now: OffsetDateTime) -> Result<u64> {
    let nobodys = Condition::all().add(Column::UserId.is_null()).add(Column::Kind.is_in(Kind::BY_ANYBODY));
    let nobodys = nobodys.add(Column::At.lte(now - NOBODYS_KEPT));
    let old = Condition::any().add(Column::At.lte(now - kept)).add(nobodys);
    Ok(delete_in_batches::<Entity>(conn, old).await?)
}
