//! `events`: what happened to an account, for its owner to look through, and for the operator in the log.
//!
//! A row is written in the transaction of its cause, and has the request ID, which is on every line of the request in the
//! log (OWASP, Logging Cheat Sheet).

pub mod activity;

use std::time::Instant;

use sea_orm::entity::prelude::*;
use sea_orm::{Condition, Iterable, QueryOrder, QuerySelect, Set};
use time::{Duration, OffsetDateTime};
use tracing::{info, warn};
use uuid::Uuid;

use crate::accounts::limit::Admission;
use crate::accounts::{Accounts, Asked, Result};
use crate::chance;
use crate::db::delete_in_batches;
use crate::notice::Notice;

/// An event.
pub type Event = Model;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "events")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub at: OffsetDateTime,
    pub kind: EventKind,
    pub user_id: Option<Uuid>,
    pub ip: String,
    pub user_agent: String,
    pub request_id: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Returns whether the same happened in the same browser at the same address.
    pub(in crate::accounts) fn is_like(&self, other: &Self) -> bool {
        (self.kind, &self.ip, &self.user_agent) == (other.kind, &other.ip, &other.user_agent)
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::None)", rename_all = "snake_case")]
pub enum EventKind {
    /// The account was made.
    SignUp,
    /// A user logged in with the password.
    LogIn,
    /// A program got a token with it.
    Token,
    /// The password was not right.
    LogInFailed,
    /// A client or an account has used up its attempts of some kind.
    LimitHit,
    /// The user logged out.
    LogOut,
    /// The user logged a device out from another one.
    SessionEnded,
    /// The user logged all other devices out.
    OthersEnded,
    /// The user said of a log-in that it was not theirs: it has ended, and no password opens the account.
    NotMe,
    /// The password was changed in a session, with the current one.
    PasswordChanged,
    /// A reset link was asked for, and made. Its email may still fail.
    ResetAsked,
    /// The password was changed with such a link.
    ResetDone,
    /// A page of another site made the user's browser send a form.
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
    /// The operator added a secret, which signs from now on.
    KeysRotated,
    /// The operator let the next keys sign the tokens of apps.
    SigningKeysRotated,
    /// The operator dropped old secrets.
    KeysDropped,
    /// The operator had an email sent that was not.
    MailRetried,
    /// The operator took an email out of those to send.
    MailDropped,
    /// The user let an app see more of the account.
    AppAllowed,
    /// The user took an app's access away.
    AppEnded,
    /// The operator registered an app.
    AppAdded,
    /// The operator changed what is registered of an app.
    AppChanged,
    /// The operator gave an app another secret, or dropped its old one.
    AppSecretChanged,
    /// The operator removed an app.
    AppRemoved,
    /// The operator restored a backup. What happened after it was made is not in the tables.
    Restored,
}

impl EventKind {
    /// Returns who can cause such an event.
    pub fn cause(self) -> Cause {
        match self {
            Self::LogInFailed | Self::LimitHit | Self::ResetAsked | Self::CrossSiteRefused => Cause::Stranger,
            Self::SignUp
            | Self::LogIn
            | Self::Token
            | Self::LogOut
            | Self::SessionEnded
            | Self::OthersEnded
            | Self::NotMe
            | Self::PasswordChanged
            | Self::ResetDone
            | Self::AppAllowed
            | Self::AppEnded
            | Self::LogInDisabled => Cause::Owner,
            Self::ResetLinkMade
            | Self::UserCreated
            | Self::UserDisabled
            | Self::UserEnabled
            | Self::UserDeleted
            | Self::EmailSet
            | Self::LoggedOut
            | Self::KeysRotated
            | Self::SigningKeysRotated
            | Self::KeysDropped
            | Self::MailRetried
            | Self::MailDropped
            | Self::AppAdded
            | Self::AppChanged
            | Self::AppSecretChanged
            | Self::AppRemoved
            | Self::Restored => Cause::Operator,
        }
    }

    /// Returns whether the operator caused it by a command on the server, which has no browser and no address.
    pub fn is_by_operator(self) -> bool {
        self.cause() == Cause::Operator
    }

    /// Returns the kinds that strangers can cause.
    fn of_strangers() -> impl Iterator<Item = Self> {
        Self::iter().filter(|kind| kind.cause() == Cause::Stranger)
    }
}

/// Who can cause an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Any client that knows a name or an address, as often as it likes.
    Stranger,
    /// The owner of the account, or an attacker who has the password, a session or the mailbox.
    Owner,
    /// The operator, by a command on the server, which has no browser and no address.
    Operator,
}

/// How long events without an account are kept. Every stranger can cause as many of them as they like.
const WITHOUT_ACCOUNT_KEPT: Duration = Duration::days(7);

/// Notes an event that strangers can cause, unless there are too many of them ([`limit::strangers`]). Events that are left
/// out are counted, and the log has one line a minute about them. Returns whether it is written.
///
/// [`limit::strangers`]: crate::accounts::limit
pub async fn record_of_stranger(
    conn: &impl ConnectionTrait,
    Accounts { limits, metrics, .. }: &Accounts,
    (kind, user): (EventKind, Option<Uuid>),
    asked: &Asked,
) -> Result<bool> {
    if limits.admits_event(user, asked.at) {
        record(conn, kind, user, asked).await?;
        return Ok(true);
    }
    static LEFT_OUT: Notice = Notice::new();
    metrics.events_left_out.inc();
    if let Some(count) = LEFT_OUT.count(Instant::now()) {
        warn!(count, "strangers cause more events than are written; these were left out");
    }
    Ok(false)
}

/// Notes an event, in the table and in the log. An event without a user is for the operator only.
pub(in crate::accounts) async fn record(
    conn: &impl ConnectionTrait,
    kind: EventKind,
    user: Option<Uuid>,
    asked: &Asked,
) -> Result<()> {
    insert(conn, kind, user, asked).await?;
    log(kind, user, asked);
    Ok(())
}

/// Notes that a user was deleted. The row does not say which one, so that nothing of the user is left in the database. The
/// log has the id.
pub(in crate::accounts) async fn record_deleted(conn: &impl ConnectionTrait, user: Uuid, asked: &Asked) -> Result<()> {
    insert(conn, EventKind::UserDeleted, None, asked).await?;
    log(EventKind::UserDeleted, Some(user), asked);
    Ok(())
}

/// Writes an event. Returns its id.
async fn insert(conn: &impl ConnectionTrait, kind: EventKind, user: Option<Uuid>, asked: &Asked) -> Result<Uuid> {
    let id = chance::id();
    let row = ActiveModel {
        id: Set(id),
        at: Set(asked.at),
        kind: Set(kind),
        user_id: Set(user),
        ip: Set(asked.ip.clone()),
        user_agent: Set(asked.user_agent.clone()),
        request_id: Set(asked.request_id.clone()),
    };
    Entity::insert(row).exec_without_returning(conn).await?;
    Ok(id)
}

fn log(kind: EventKind, user: Option<Uuid>, asked: &Asked) {
    info!(
        target: "latchkey::event",
        event = kind.to_value(),
        user = user.map(tracing::field::display),
        ip = asked.ip,
        user_agent = asked.user_agent,
        request = asked.request_id,
    );
}

/// Notes a wrong password, and that it was the last attempt for now.
///
/// An event that is left out is written and deleted: the commit waits for the disk all the same. All names without an account
/// share one number of events. An attacker who uses that up could tell by the time of an answer which names have an account.
pub(in crate::accounts) async fn record_failure(
    accounts: &Accounts,
    user: Option<Uuid>,
    admission: Admission,
    asked: &Asked,
) -> Result<()> {
    let tx = accounts.db.begin().await?;
    if !record_of_stranger(&tx, accounts, (EventKind::LogInFailed, user), asked).await? {
        let id = insert(&tx, EventKind::LogInFailed, user, asked).await?;
        Entity::delete_by_id(id).exec(&tx).await?;
    }
    if admission.last {
        record_of_stranger(&tx, accounts, (EventKind::LimitHit, user), asked).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Returns the newest events of the user, the newest first: events that strangers can cause, or the others.
pub(in crate::accounts) async fn newest(
    conn: &impl ConnectionTrait,
    user: Uuid,
    of_strangers: bool,
    most: u64,
) -> Result<Vec<Event>> {
    let kinds = EventKind::of_strangers();
    let sort = if of_strangers { Column::Kind.is_in(kinds) } else { Column::Kind.is_not_in(kinds) };
    let events = Entity::find().filter(Column::UserId.eq(user)).filter(sort);
    Ok(events.order_by_desc(Column::At).order_by_desc(Column::Id).limit(most).all(conn).await?)
}

/// Returns every event of the user that is kept, the newest first.
pub async fn all(conn: &impl ConnectionTrait, user: Uuid) -> Result<Vec<Event>> {
    let events = Entity::find().filter(Column::UserId.eq(user));
    Ok(events.order_by_desc(Column::At).order_by_desc(Column::Id).all(conn).await?)
}

/// Returns the newest event of this kind in the user's account.
pub(in crate::accounts) async fn last(
    conn: &impl ConnectionTrait,
    user: Uuid,
    kind: EventKind,
) -> Result<Option<Event>> {
    let events = Entity::find().filter(Column::UserId.eq(user)).filter(Column::Kind.eq(kind));
    Ok(events.order_by_desc(Column::Id).one(conn).await?)
}

/// Returns when the newest event of all happened.
pub async fn newest_at(conn: &impl ConnectionTrait) -> Result<Option<OffsetDateTime>> {
    Ok(Entity::find().order_by_desc(Column::Id).one(conn).await?.map(|event| event.at))
}

/// Deletes the events that are older than `kept`, and events of strangers without an account that are a week old. Returns
/// how many.
pub async fn sweep(conn: &impl ConnectionTrait, kept: Duration, now: OffsetDateTime) -> Result<u64> {
    let of_strangers = Column::Kind.is_in(EventKind::of_strangers());
    let without_account = Condition::all().add(Column::UserId.is_null()).add(of_strangers);
    let without_account = without_account.add(Column::At.lte(now - WITHOUT_ACCOUNT_KEPT));
    let old = Condition::any().add(Column::At.lte(now - kept)).add(without_account);
    Ok(delete_in_batches::<Entity>(conn, old).await?)
}
