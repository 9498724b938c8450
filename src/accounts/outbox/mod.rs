//! `outbox`: letters to send. A letter is a row first, written in the transaction of its cause, so that neither can be lost
//! without the other. The postman (`mail::postman`) sends it at least once.

pub mod letter;
pub mod operate;
mod sort;
mod waits;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{CaseStatement, LockBehavior, LockType, Query, SelectStatement, SubQueryStatement};
use sea_orm::{Condition, Iterable, QueryOrder, QuerySelect, QueryTrait, Set, UpdateMany};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::accounts::context::Post;
use crate::accounts::link::{not_me_link, pending_signup};
use crate::accounts::user::User;
use crate::accounts::user::email::Email;
use crate::accounts::{Fault, Result};
use crate::chance;
use crate::db::{Db, delete_in_batches};
use crate::locale::Locale;
use letter::{Letter, Priority};

pub use waits::{PutOff, Queue, pause, put_off_due, queue};

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
    pub to_address: Email,
    pub locale: String,
    pub state: LetterState,
    pub priority: Priority,
    pub attempts: i32,
    pub next_attempt_at: OffsetDateTime,
    pub leased_until: Option<OffsetDateTime>,
    pub deadline: OffsetDateTime,
    #[sea_orm(column_type = "Text", nullable)]
    pub last_error: Option<String>,
    pub failed_at: Option<OffsetDateTime>,
    pub created_at: OffsetDateTime,
    pub sent_at: Option<OffsetDateTime>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// How far a letter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::None)", rename_all = "snake_case")]
pub enum LetterState {
    /// To be sent at `next_attempt_at`.
    Waiting,
    /// The mail server has accepted it.
    Sent,
    /// There is no account to send it to, or the operator has dropped it.
    Dropped,
    /// Given up; `last_error` says why.
    Failed,
}

/// How long one attempt may take. A letter whose postman died is taken again after this time.
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
/// How long letters are kept after they are done, for the operator to look at.
const KEPT: Duration = Duration::days(30);
/// How long dropped letters are kept. Strangers can cause as many of them as they like.
const DROPPED_KEPT: Duration = Duration::days(1);
/// How many of the letters of strangers that are done a sweep leaves; the newest stay.
const STRANGERS_MAX: u64 = 10_000;
/// How much of a mail server's words is kept, in characters.
const ERROR_MAX: usize = 500;

/// Writes a letter. Call it in the transaction of its cause.
pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    (to, locale): (&Email, Locale),
    letter: &Letter,
    now: OffsetDateTime,
) -> Result<Post> {
    insert_for(conn, (to, locale), letter, (now, now)).await
}

/// As [`insert`], for a letter that is sent at the time `due`.
async fn insert_for(
    conn: &impl ConnectionTrait,
    (to, locale): (&Email, Locale),
    letter: &Letter,
    (now, due): (OffsetDateTime, OffsetDateTime),
) -> Result<Post> {
    let ((kind, data), handling) = (letter.parts()?, letter.handling());
    let row = ActiveModel {
        id: Set(chance::id()),
        letter: Set(kind),
        data: Set(data),
        to_address: Set(to.clone()),
        locale: Set(locale.tag().to_owned()),
        state: Set(LetterState::Waiting),
        priority: Set(handling.priority),
        attempts: Set(0),
        next_attempt_at: Set(due),
        leased_until: Set(None),
        deadline: Set(due + handling.worth_sending),
        last_error: Set(None),
        failed_at: Set(None),
        created_at: Set(now),
        sent_at: Set(None),
    };
    Entity::insert(row).exec_without_returning(conn).await?;
    Ok(match handling.priority {
        _ if due > now => Post::Nothing,
        Priority::Owner => Post::News,
        Priority::Unsorted | Priority::Reset | Priority::Stranger => Post::Letter,
    })
}

/// Writes a letter with news to an owner, for its turn at the time `due`. If its turn is later, and a letter of the same
/// kind waits for the same turn already, the news is added to that one by `add` instead.
///
/// A letter that the postman has attempted to send may have arrived, so it stays as it is.
pub(super) async fn insert_or_join(
    conn: &impl ConnectionTrait,
    (user, locale): (&User, Locale),
    letter: &Letter,
    (now, due): (OffsetDateTime, OffsetDateTime),
    add: impl FnOnce(&mut Letter),
) -> Result<Post> {
    if due > now && join(conn, user, &letter.parts()?.0, add).await? {
        return Ok(Post::Nothing);
    }
    insert_for(conn, (&user.email, user.letter_locale(locale)), letter, (now, due)).await
}

/// Adds news to a letter of this kind to this user that waits and was not attempted yet. Returns whether there was one.
async fn join(conn: &impl ConnectionTrait, user: &User, kind: &str, add: impl FnOnce(&mut Letter)) -> Result<bool> {
    let unattempted = || {
        let waiting = Condition::all().add(Column::State.eq(LetterState::Waiting)).add(Column::Attempts.eq(0));
        waiting.add(Column::Priority.eq(Priority::Owner))
    };
    let of_kind = Entity::find().filter(unattempted()).filter(Column::Letter.eq(kind));
    // A letter for an earlier owner of the same address may wait there too.
    for row in of_kind.filter(Column::ToAddress.eq(user.email.clone())).all(conn).await? {
        let mut letter = row.letter()?;
        if letter.handling().told.is_some_and(|(told, _)| told == user.id) {
            add(&mut letter);
            let changes = ActiveModel { data: Set(letter.parts()?.1), ..Default::default() };
            let update = Entity::update_many().set(changes).filter(unattempted()).filter(Column::Id.eq(row.id));
            return Ok(update.exec(conn).await?.rows_affected == 1);
        }
    }
    Ok(false)
}

impl Model {
    /// Returns the language of the letter, unless its recipient has chosen another one.
    pub fn locale(&self) -> Locale {
        self.locale.parse().unwrap_or_default()
    }

    /// Returns the request ID of its cause.
    pub fn request_id(&self) -> Option<&str> {
        self.data["asked"]["request_id"].as_str()
    }

    /// Returns what the letter is about.
    ///
    /// # Errors
    /// When a newer or broken program wrote the row.
    pub fn letter(&self) -> Result<Letter> {
        let parts = serde_json::json!({ "letter": self.letter, "data": self.data });
        serde_json::from_value(parts).map_err(|why| Fault::Internal(format!("outbox row {}: {why}", self.id)))
    }
}

/// Selects what no postman works on.
fn unleased(now: OffsetDateTime) -> Condition {
    Condition::any().add(Column::LeasedUntil.is_null()).add(Column::LeasedUntil.lte(now))
}

/// Selects the letters that are due, also resets whose address was not looked up yet.
fn due(now: OffsetDateTime) -> Condition {
    let waiting = Condition::all().add(Column::State.eq(LetterState::Waiting));
    waiting.add(Column::NextAttemptAt.lte(now)).add(unleased(now))
}

/// Returns the priority of the letter that goes first of those that are due, also of a reset whose address was not looked up yet.
///
/// It looks for each priority by itself, which takes one step in the index. For one query in the order of the priorities, SQLite
/// would read all letters that are due, and sort them.
pub async fn most_urgent(conn: &impl ConnectionTrait, now: OffsetDateTime) -> Result<Option<Priority>> {
    let first = Priority::iter().fold(CaseStatement::new(), |first, priority| {
        let due =
            Entity::find().select_only().column(Column::Id).filter(due(now)).filter(Column::Priority.eq(priority));
        first.case(Expr::exists(due.into_query()), priority)
    });
    let ask = Query::select().expr(first).take();
    let row = conn.query_one(&ask).await?;
    Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.flatten())
}

/// Selects those of these letters that no other node changes at this moment. Two nodes that change the same letters in
/// different orders would wait for each other. SQLite has one writer, and leaves the lock out.
fn unlocked(letters: Condition) -> SelectStatement {
    let ids = Entity::find().select_only().column(Column::Id).filter(letters);
    ids.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked).into_query()
}

/// Takes the next letter that is due, for [`LEASE`]. Two postmen never get the same one. A reset for an account goes before
/// all others.
pub async fn lease(db: &Db, now: OffsetDateTime) -> Result<Option<OutboxRow>> {
    // Most of the time there is nothing. A reading connection sees that: a postman of a SQLite file does not wait for every
    // request that writes.
    let mut first = most_urgent(db.read(), now).await?;
    if first == Some(Priority::Unsorted) {
        sort::sort(db, now).await?;
        first = most_urgent(db.read(), now).await?;
    }
    let Some(first) = first else { return Ok(None) };
    // Another postman may take the last one of a priority meanwhile, and more resets may arrive that are not sorted.
    for priority in Priority::iter().filter(|priority| *priority >= first && *priority != Priority::Unsorted) {
        if let Some(row) = lease_one(db, priority, now).await? {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

async fn lease_one(db: &Db, priority: Priority, now: OffsetDateTime) -> Result<Option<OutboxRow>> {
    use sea_orm::sea_query::ExprTrait; // here, because it gives every number a `max` of its own

    let next = Entity::find().select_only().column(Column::Id).filter(due(now)).filter(Column::Priority.eq(priority));
    let next = next.order_by_asc(Column::NextAttemptAt).order_by_asc(Column::Id).limit(1);
    // The postmen of other nodes take other letters, and none of them waits. SQLite has one writer, and leaves this out.
    let next = next.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked).into_query();
    let taken = Entity::update_many()
        .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
        .col_expr(Column::LeasedUntil, Expr::value(now + LEASE))
        .filter(Expr::col(Column::Id).eq(SubQueryStatement::from(next)));
    // It returns the row as it is now: log-ins may have joined it a moment ago.
    Ok(taken.exec_with_returning(db.write()).await?.pop())
}

/// The numbers of letters.
#[derive(Clone, Debug)]
pub struct Tally {
    /// How many are in each state.
    pub states: Vec<(String, i64)>,
    /// When the letter was written that has waited longest.
    pub oldest: Option<OffsetDateTime>,
}

/// Counts the letters.
pub async fn tally(conn: &impl ConnectionTrait) -> Result<Tally> {
    let all = Entity::find().select_only();
    // By the index alone: letters are kept for a month.
    let counted = all.clone().column(Column::State).expr(Column::State.count()).group_by(Column::State);
    let counted: Vec<(LetterState, i64)> = counted.into_tuple().all(conn).await?;
    let count = |state| counted.iter().find(|(counted, _)| *counted == state).map_or(0, |(_, count)| *count);
    let states = LetterState::iter().map(|state| (state.to_value(), count(state))).collect();
    let waiting = all.column(Column::CreatedAt).filter(Column::State.eq(LetterState::Waiting));
    let oldest = waiting.order_by_asc(Column::CreatedAt).into_tuple().one(conn).await?;
    Ok(Tally { states, oldest })
}

/// Notes that the letter was sent, or that there is no account to send it to.
pub async fn done(conn: &impl ConnectionTrait, row: &OutboxRow, state: LetterState, now: OffsetDateTime) -> Result<()> {
    let sent_at = (state == LetterState::Sent).then_some(now);
    let changes =
        ActiveModel { state: Set(state), sent_at: Set(sent_at), leased_until: Set(None), ..Default::default() };
    attempt(row).set(changes).exec(conn).await?;
    Ok(())
}

/// Selects the row, as long as no other postman has taken it since.
fn attempt(row: &OutboxRow) -> UpdateMany<Entity> {
    Entity::update_many().filter(Column::Id.eq(row.id)).filter(Column::Attempts.eq(row.attempts))
}

/// Why a letter was not sent.
#[derive(Clone, Copy, Debug)]
pub struct NotSent<'a> {
    /// The words of the mail server, or of the network.
    pub why: &'a str,
    /// Whether another attempt would get the same answer.
    pub hopeless: bool,
    /// Whether the mail server takes no letter at all now, as far as this attempt tells.
    pub of_server: bool,
}

/// Notes that the letter was not sent. There is another attempt after a pause, unless that is hopeless or past the deadline.
/// Returns its state now: an operator may have dropped it meanwhile.
pub async fn note_not_sent(
    conn: &impl ConnectionTrait,
    row: &OutboxRow,
    NotSent { why, hopeless, of_server }: NotSent<'_>,
    now: OffsetDateTime,
) -> Result<LetterState> {
    let attempts = usize::try_from(row.attempts.max(1)).unwrap_or(1);
    let next = now + PAUSES[(attempts - 1).min(PAUSES.len() - 1)];
    let state = if hopeless || next >= row.deadline { LetterState::Failed } else { LetterState::Waiting };
    let failed_at = of_server.then_some(now);
    let update = attempt(row).set(not_sent(state, next, why, failed_at)).filter(Column::State.eq(LetterState::Waiting));
    Ok(if update.exec(conn).await?.rows_affected == 0 { LetterState::Dropped } else { state })
}

/// Returns what changes in the row of a letter that was not sent. `failed_at` is the time if the mail server took no letter.
fn not_sent(state: LetterState, next: OffsetDateTime, why: &str, failed_at: Option<OffsetDateTime>) -> ActiveModel {
    ActiveModel {
        state: Set(state),
        next_attempt_at: Set(next),
        leased_until: Set(None),
        last_error: Set(Some(why.chars().take(ERROR_MAX).collect())),
        failed_at: Set(failed_at),
        ..Default::default()
    }
}

/// Releases the letters that other processes hold. This is for the start of the one process that a SQLite file has: a
/// process that held a letter before has ended.
pub async fn release_all(conn: &impl ConnectionTrait) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::LeasedUntil, Expr::value(None::<OffsetDateTime>))
        .filter(Column::LeasedUntil.is_not_null())
        .exec(conn)
        .await?;
    Ok(())
}

/// Gives up all letters that wait, for the reason `why`. Returns how many.
pub(in crate::accounts) async fn give_up(conn: &impl ConnectionTrait, why: &str) -> Result<u64> {
    let changes = ActiveModel {
        state: Set(LetterState::Failed),
        leased_until: Set(None),
        last_error: Set(Some(why.to_owned())),
        ..Default::default()
    };
    let waiting = Entity::update_many().set(changes).filter(Column::State.eq(LetterState::Waiting));
    Ok(waiting.exec(conn).await?.rows_affected)
}

/// Returns the sessions that emails told this user of, as far as the links in them may still work.
pub(in crate::accounts) async fn sessions_told_of(
    conn: &impl ConnectionTrait,
    user: &User,
    now: OffsetDateTime,
) -> Result<Vec<Uuid>> {
    // A link is made when its email is sent, which may be a day after the row.
    let recent = Column::CreatedAt.gt(now - not_me_link::LIFETIME - pending_signup::LIFETIME);
    let letters = Entity::find().filter(Column::ToAddress.eq(user.email.clone())).filter(recent).all(conn).await?;
    let told = letters.iter().filter_map(|row| row.letter().ok()?.handling().told);
    Ok(told.filter(|(told, _)| *told == user.id).map(|(_, session)| session).collect())
}

/// Deletes every letter to the user's address, however it was typed, and those about the account that went to an address
/// which it had before.
///
/// It reads all rows, because canonical forms are computed in Rust only. A user is deleted seldom.
pub(in crate::accounts) async fn forget(conn: &impl ConnectionTrait, user: &User) -> Result<()> {
    let all = Entity::find().select_only().columns([Column::Id, Column::ToAddress, Column::Data]);
    let all: Vec<(Uuid, Email, Json)> = all.into_tuple().all(conn).await?;
    let same = |to: &Email| to.canonical() == user.email_canonical;
    let about = |data: &Json| data["user"].as_str().is_some_and(|id| id == user.id.to_string());
    let letters = all.into_iter().filter(|(_, to, data)| same(to) || about(data));
    let letters: Vec<Uuid> = letters.map(|(id, ..)| id).collect();
    for batch in letters.chunks(500) {
        Entity::delete_many().filter(Column::Id.is_in(batch.iter().copied())).exec(conn).await?;
    }
    Ok(())
}

/// Deletes letters that were done long ago, and those beyond the most. Returns how many.
pub async fn sweep(db: &Db, now: OffsetDateTime) -> Result<u64> {
    let done = Condition::all().add(Column::State.ne(LetterState::Waiting));
    let old = done.clone().add(Column::CreatedAt.lte(now - KEPT));
    let dropped =
        Condition::all().add(Column::State.eq(LetterState::Dropped)).add(Column::CreatedAt.lte(now - DROPPED_KEPT));
    let mut gone = Condition::any().add(old).add(dropped);
    // A flood must not fill the disk with letters that are done. The ids are in the order of time.
    let strangers = done.add(Column::Priority.is_in([Priority::Unsorted, Priority::Stranger]));
    let newest = Entity::find().filter(strangers.clone()).order_by_desc(Column::Id);
    if let Some(first) = newest.offset(STRANGERS_MAX).one(db.read()).await? {
        gone = gone.add(strangers.add(Column::Id.lte(first.id)));
    }
    Ok(delete_in_batches::<Entity>(db.write(), gone).await?)
}
