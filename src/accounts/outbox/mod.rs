//! `outbox`: letters to send. A letter is a row first, written in the transaction of its cause, so that
//! neither can be lost without the other; the postman (`mail::postman`) sends it at least once.

pub mod letter;

use sea_orm::entity::prelude::*;
use sea_orm::{Condition, Iterable, QueryOrder, QuerySelect, Set, UpdateMany};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::accounts::link::{not_me_link, pending_signup};
use crate::accounts::outbox::letter::{Letter, Priority};
use crate::accounts::user::User;
use crate::accounts::user::email::Email;
use crate::accounts::{Fault, Result, flood};
use crate::chance;
use crate::db::{Db, delete_in_batches};
use crate::locale::Locale;

/// A row of the outbox.
pub type OutboxRow = Model;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub letter: String,
    pub data: Json,
    pub to_address: String,
    pub locale: String,
    pub state: State,
    pub priority: Priority,
    pub attempts: i32,
    pub next_attempt_at: OffsetDateTime,
    pub leased_until: Option<OffsetDateTime>,
    pub deadline: OffsetDateTime,
    #[sea_orm(column_type = "Text", nullable)]
    pub last_error: Option<String>,
    pub created_at: OffsetDateTime,
    pub sent_at: Option<OffsetDateTime>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Where a letter is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::None)", rename_all = "snake_case")]
pub enum State {
    /// To be sent at `next_attempt_at`.
    Waiting,
    /// The mail server took it.
    Sent,
    /// There was nobody to send it to.
    Dropped,
    /// Given up; `last_error` says why.
    Failed,
}

/// How long one attempt may take. A letter whose postman died is tried again after this.
pub const LEASE: Duration = Duration::seconds(30);
/// The pauses after the first, second, … failed attempt; the last one repeats.
const PAUSES: [Duration; 6] = [
    Duration::seconds(5),
    Duration::seconds(20),
    Duration::minutes(1),
    Duration::minutes(3),
    Duration::minutes(10),
    Duration::minutes(30),
];
/// How long rows are kept after they are done with, for the operator to look at.
const KEPT: Duration = Duration::days(30);
/// How long rows are kept that had nobody to be sent to, which anybody can make as many of as they like.
const DROPPED_KEPT: Duration = Duration::days(1);
/// The most rows done with that a sweep leaves of those that strangers caused; the newest stay.
const STRANGERS_MAX: u64 = 10_000;
/// What is kept of a mail server's words, in characters.
const ERROR_MAX: usize = 500;

/// Writes a letter to `to`, an address as typed. Call it in the transaction of its cause.
pub(in crate::accounts) async fn insert(
    conn: &impl ConnectionTrait,
    to: &str,
    locale: Locale,
    letter: &Letter,
    now: OffsetDateTime,
) -> Result<()> {
    insert_for(conn, to, locale, letter, (now, now)).await
}

/// As [`insert`], for a letter that goes out at the time `due`.
pub(in crate::accounts) async fn insert_for(
    conn: &impl ConnectionTrait,
    to: &str,
    locale: Locale,
    letter: &Letter,
    (now, due): (OffsetDateTime, OffsetDateTime),
) -> Result<()> {
    let (kind, data) = letter.parts()?;
    let row = ActiveModel {
        id: Set(chance::id()),
        letter: Set(kind),
        data: Set(data),
        to_address: Set(to.to_owned()),
        locale: Set(locale.tag().to_owned()),
        state: Set(State::Waiting),
        priority: Set(letter.priority()),
        attempts: Set(0),
        next_attempt_at: Set(due),
        leased_until: Set(None),
        deadline: Set(due + letter.worth_sending()),
        last_error: Set(None),
        created_at: Set(now),
        sent_at: Set(None),
    };
    row.insert(conn).await?;
    Ok(())
}

impl Model {
    /// The language of the letter, unless its recipient has chosen another one.
    pub fn locale(&self) -> Locale {
        self.locale.parse().unwrap_or_default()
    }

    /// The number of the request that is its cause, in the log.
    pub fn request_id(&self) -> Option<&str> {
        self.data["asked"]["request_id"].as_str()
    }

    /// What the letter is about.
    ///
    /// # Errors
    /// When a newer or broken program wrote the row.
    pub fn letter(&self) -> Result<Letter> {
        let parts = serde_json::json!({ "letter": self.letter, "data": self.data });
        serde_json::from_value(parts).map_err(|why| Fault::Internal(format!("outbox row {}: {why}", self.id)))
    }
}

fn due(now: OffsetDateTime) -> Condition {
    let unleased = Condition::any().add(Column::LeasedUntil.is_null()).add(Column::LeasedUntil.lte(now));
    let sorted = Column::Priority.ne(Priority::Unsorted);
    Condition::all().add(Column::State.eq(State::Waiting)).add(sorted).add(Column::NextAttemptAt.lte(now)).add(unleased)
}

/// Takes the next letter that is due, for [`LEASE`]. Two postmen never get the same one. A reset for an account overtakes
/// all others.
///
/// # Errors
/// When the database is out of reach.
pub async fn lease(db: &Db, now: OffsetDateTime) -> Result<Option<OutboxRow>> {
    flood::sort(db, now).await?;
    loop {
        let next = Entity::find().filter(due(now)).order_by_asc(Column::Priority);
        let next = next.order_by_asc(Column::NextAttemptAt).order_by_asc(Column::Id);
        // Looked for where the postman need not wait in line with everybody who writes.
        let Some(row) = next.one(db.read()).await? else { return Ok(None) };
        let changes =
            ActiveModel { attempts: Set(row.attempts + 1), leased_until: Set(Some(now + LEASE)), ..Default::default() };
        let taken = Entity::update_many().set(changes).filter(due(now)).filter(Column::Id.eq(row.id));
        // As it is now: log-ins may have joined it since it was looked for.
        if let Some(row) = taken.exec_with_returning(db.write()).await?.pop() {
            return Ok(Some(row));
        }
    }
}

/// When the next letter will be due, if any waits.
///
/// # Errors
/// When the database is out of reach.
pub async fn next_due(conn: &impl ConnectionTrait) -> Result<Option<OffsetDateTime>> {
    let waiting = Entity::find().filter(Column::State.eq(State::Waiting)).order_by_asc(Column::NextAttemptAt);
    Ok(waiting.one(conn).await?.map(|row| row.leased_until.unwrap_or(row.next_attempt_at).max(row.next_attempt_at)))
}

/// How many letters there are.
#[derive(Clone, Debug)]
pub struct Tally {
    /// In each state.
    pub states: Vec<(String, i64)>,
    /// When the one was written that has waited longest.
    pub oldest: Option<OffsetDateTime>,
}

/// Counts the letters.
///
/// # Errors
/// When the database is out of reach.
pub async fn tally(conn: &impl ConnectionTrait) -> Result<Tally> {
    let all = Entity::find().select_only();
    // By the index alone: letters are kept for a month.
    let counted = all.clone().column(Column::State).expr(Column::State.count()).group_by(Column::State);
    let counted: Vec<(State, i64)> = counted.into_tuple().all(conn).await?;
    let count = |state| counted.iter().find(|(those, _)| *those == state).map_or(0, |(_, count)| *count);
    let states = State::iter().map(|state| (state.to_value(), count(state))).collect();
    let waiting = all.column(Column::CreatedAt).filter(Column::State.eq(State::Waiting));
    let oldest = waiting.order_by_asc(Column::CreatedAt).into_tuple().one(conn).await?;
    Ok(Tally { states, oldest })
}

/// The letter went out, or there was nobody to send it to.
///
/// # Errors
/// When the database is out of reach.
pub async fn done(conn: &impl ConnectionTrait, row: &OutboxRow, state: State, now: OffsetDateTime) -> Result<()> {
    let sent_at = (state == State::Sent).then_some(now);
    let changes =
        ActiveModel { state: Set(state), sent_at: Set(sent_at), leased_until: Set(None), ..Default::default() };
    this_attempt(row).set(changes).exec(conn).await?;
    Ok(())
}

/// The row, as long as no other postman has taken it since.
fn this_attempt(row: &OutboxRow) -> UpdateMany<Entity> {
    Entity::update_many().filter(Column::Id.eq(row.id)).filter(Column::Attempts.eq(row.attempts))
}

/// The letter did not go out: it is tried again after a pause, unless that is `hopeless` or past the
/// deadline. Returns the state it is in now.
///
/// # Errors
/// When the database is out of reach.
pub async fn failed(
    conn: &impl ConnectionTrait,
    row: &OutboxRow,
    why: &str,
    hopeless: bool,
    now: OffsetDateTime,
) -> Result<State> {
    let tried = usize::try_from(row.attempts.max(1)).unwrap_or(1);
    let next = now + PAUSES[(tried - 1).min(PAUSES.len() - 1)];
    let state = if hopeless || next >= row.deadline { State::Failed } else { State::Waiting };
    let changes = ActiveModel {
        state: Set(state),
        next_attempt_at: Set(next),
        leased_until: Set(None),
        last_error: Set(Some(why.chars().take(ERROR_MAX).collect())),
        ..Default::default()
    };
    this_attempt(row).set(changes).exec(conn).await?;
    Ok(state)
}

/// Gives back what other processes hold. For the start of the one process that a SQLite file has: whoever
/// held a letter before is dead.
///
/// # Errors
/// When the database is out of reach.
pub async fn release_all(conn: &impl ConnectionTrait) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::LeasedUntil, Expr::value(None::<OffsetDateTime>))
        .filter(Column::LeasedUntil.is_not_null())
        .exec(conn)
        .await?;
    Ok(())
}

/// An email in which news to an owner wait for their turn, as long as it has not been tried.
fn untried() -> Condition {
    let untried = Condition::all().add(Column::State.eq(State::Waiting)).add(Column::Attempts.eq(0));
    untried.add(Column::Priority.eq(Priority::Owner))
}

/// Adds news to the email of this `kind` in which news of this user's account wait for their turn. Returns whether it did:
/// not if none waits, or the postman has taken it meanwhile. An email that was tried may have arrived, so it stays as it is.
pub(in crate::accounts) async fn join(
    conn: &impl ConnectionTrait,
    user: &User,
    kind: &str,
    add: impl FnOnce(&mut Letter),
) -> Result<bool> {
    let of_kind = Entity::find().filter(untried()).filter(Column::Letter.eq(kind));
    // One that an earlier owner of the address has not got yet may wait there too.
    for row in of_kind.filter(Column::ToAddress.eq(&user.email)).all(conn).await? {
        let mut letter = row.letter()?;
        if letter.user() == Some(user.id) {
            add(&mut letter);
            let changes = ActiveModel { data: Set(letter.parts()?.1), ..Default::default() };
            let update = Entity::update_many().set(changes).filter(untried()).filter(Column::Id.eq(row.id));
            return Ok(update.exec(conn).await?.rows_affected == 1);
        }
    }
    Ok(false)
}

/// Returns the sessions that emails told this user of, as far as the links in them may still work.
pub(in crate::accounts) async fn sessions_told_of(
    conn: &impl ConnectionTrait,
    user: &User,
    now: OffsetDateTime,
) -> Result<Vec<Uuid>> {
    // A link is made when its email is sent, which may be a day after the row.
    let recent = Column::CreatedAt.gt(now - not_me_link::LIFETIME - pending_signup::LIFETIME);
    let letters = Entity::find().filter(Column::ToAddress.eq(&user.email)).filter(recent).all(conn).await?;
    let told = letters.iter().filter_map(|row| match row.letter().ok()? {
        Letter::NewDevice { user: of, session, .. }
        | Letter::NewDevices { user: of, session, .. }
        | Letter::DevicesEnded { user: of, session, .. } => (of == user.id).then_some(session),
        _ => None,
    });
    Ok(told.collect())
}

/// Deletes every letter to the user's address, however it was typed, and those about the account that went to an address
/// which it had before.
///
/// It reads all rows, because canonical forms are computed in Rust only. A user is deleted seldom.
pub(in crate::accounts) async fn forget(conn: &impl ConnectionTrait, user: &User) -> Result<()> {
    let all = Entity::find().select_only().columns([Column::Id, Column::ToAddress, Column::Data]);
    let all: Vec<(Uuid, String, Json)> = all.into_tuple().all(conn).await?;
    let same = |typed: &str| Email::parse(typed).is_ok_and(|email| email.canonical() == user.email_canonical);
    let about = |data: &Json| data["user"].as_str().is_some_and(|id| id == user.id.to_string());
    let theirs = all.into_iter().filter(|(_, to, data)| same(to) || about(data));
    let theirs: Vec<Uuid> = theirs.map(|(id, ..)| id).collect();
    for some in theirs.chunks(500) {
        Entity::delete_many().filter(Column::Id.is_in(some.iter().copied())).exec(conn).await?;
    }
    Ok(())
}

/// Deletes what was done with long ago, and what there is too much of; returns how many.
///
/// # Errors
/// When the database is out of reach.
pub async fn sweep(db: &Db, now: OffsetDateTime) -> Result<u64> {
    let done = Condition::all().add(Column::State.ne(State::Waiting));
    let old = done.clone().add(Column::CreatedAt.lte(now - KEPT));
    let dropped = Condition::all().add(Column::State.eq(State::Dropped)).add(Column::CreatedAt.lte(now - DROPPED_KEPT));
    let mut gone = Condition::any().add(old).add(dropped);
    // A flood must not fill the disk with letters that are done with. The ids are in the order of time.
    let strangers = done.add(Column::Priority.is_in([Priority::Unsorted, Priority::Stranger]));
    let newest = Entity::find().filter(strangers.clone()).order_by_desc(Column::Id);
    if let Some(first) = newest.offset(STRANGERS_MAX).one(db.read()).await? {
        gone = gone.add(strangers.add(Column::Id.lte(first.id)));
    }
    Ok(delete_in_batches::<Entity>(db.write(), gone).await?)
}
