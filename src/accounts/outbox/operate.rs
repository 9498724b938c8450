//! What an operator does with letters by a command: look at them, have them sent again, take them out.

use sea_orm::entity::prelude::*;
use sea_orm::{PaginatorTrait, QueryOrder, QuerySelect, Set};
use time::OffsetDateTime;
use uuid::Uuid;

use super::letter::Letter;
use super::{ActiveModel, Column, Entity, LetterState, Model, OutboxRow, unleased};
use crate::accounts::event::{self, EventKind};
use crate::accounts::link::pending_signup;
use crate::accounts::user::email::Email;
use crate::accounts::{Asked, Result};
use crate::db::Db;

/// What is kept as the reason why a letter was not sent.
const DROPPED: &str = "dropped by the operator";

/// Which letters to list.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Those in this state.
    pub state: Option<LetterState>,
    /// Those to this address, however it was typed.
    pub to: Option<Email>,
}

/// Returns the newest letters, the newest first, and how many there are besides.
pub async fn newest(conn: &impl ConnectionTrait, wanted: &Wanted, most: u64) -> Result<(Vec<OutboxRow>, u64)> {
    let mut letters = Entity::find().order_by_desc(Column::Id);
    if let Some(state) = wanted.state {
        letters = letters.filter(Column::State.eq(state));
    }
    if let Some(to) = &wanted.to {
        // All rows are read, because canonical forms are computed in Rust only.
        let all = letters.clone().select_only().columns([Column::Id, Column::ToAddress]);
        let all: Vec<(Uuid, Email)> = all.into_tuple().all(conn).await?;
        let same = all.into_iter().filter(|(_, address)| address.canonical() == to.canonical());
        let ids: Vec<_> = same.map(|(id, _)| id).collect();
        let count = ids.len() as u64;
        letters = letters.filter(Column::Id.is_in(ids.into_iter().take(most as usize)));
        return Ok((letters.all(conn).await?, count.saturating_sub(most)));
    }
    let count = letters.clone().count(conn).await?;
    Ok((letters.limit(most).all(conn).await?, count.saturating_sub(most)))
}

/// How many digits of an ID name a letter.
const DIGITS: usize = 4;

/// Returns the letters whose ID begins with this text, two at most. A text that begins no ID, or is shorter than [`DIGITS`],
/// finds none.
pub async fn by_prefix(conn: &impl ConnectionTrait, prefix: &str) -> Result<Vec<OutboxRow>> {
    let digits: String = prefix.chars().filter(|digit| *digit != '-').collect();
    if digits.len() < DIGITS {
        return Ok(vec![]);
    }
    let end = |fill: &str| Uuid::try_parse(&format!("{digits}{}", fill.repeat(32_usize.saturating_sub(digits.len()))));
    let (Ok(first), Ok(last)) = (end("0"), end("f")) else { return Ok(vec![]) };
    let found = Entity::find().filter(Column::Id.between(first, last)).order_by_asc(Column::Id).limit(2);
    Ok(found.all(conn).await?)
}

/// What became of a letter that the operator wants to be sent, or not to be sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operated {
    /// It is as the operator wants.
    Done,
    /// It is dropped, but a postman may be sending it right now.
    MayGoOut,
    /// A postman works on it right now.
    Leased,
    /// It was in this state already.
    Already(LetterState),
    /// It would come too late to mean anything.
    TooLate,
}

/// Makes the letter due now, whether it waits, was given up or was dropped. Its link is made when it is sent, so the link
/// works as long as that of any letter. The server's postman finds the letter within five seconds.
pub async fn retry(db: &Db, row: &OutboxRow, now: OffsetDateTime) -> Result<Operated> {
    if row.state == LetterState::Sent {
        return Ok(Operated::Already(row.state));
    }
    let Some(deadline) = new_deadline(db, row, now).await? else { return Ok(Operated::TooLate) };
    let changes = ActiveModel {
        state: Set(LetterState::Waiting),
        next_attempt_at: Set(now),
        leased_until: Set(None),
        failed_at: Set(None),
        deadline: Set(deadline),
        ..Default::default()
    };
    let update = Entity::update_many().set(changes).filter(Column::Id.eq(row.id));
    // Another process may have taken or changed the letter since it was read.
    let update = update.filter(Column::State.ne(LetterState::Sent)).filter(unleased(now));
    let tx = db.begin().await?;
    if update.exec(&tx).await?.rows_affected == 0 {
        return Ok(Operated::Leased);
    }
    event::record(&tx, EventKind::MailRetried, None, &row.operated(now)).await?;
    tx.commit().await?;
    Ok(Operated::Done)
}

/// Returns until when the letter is worth sending, or `None` if it is not any more.
async fn new_deadline(db: &Db, row: &OutboxRow, now: OffsetDateTime) -> Result<Option<OffsetDateTime>> {
    let letter = row.letter()?;
    if let Letter::Signup { pending, .. } = &letter
        && pending_signup::find(db.read(), *pending, now).await?.is_none()
    {
        return Ok(None); // it was confirmed, or has expired
    }
    if row.deadline > now {
        return Ok(Some(row.deadline));
    }
    let handling = letter.handling();
    // A link “this was not me” ends what began after the session that its email tells of. Which sessions emails have told
    // of is known for a week and a day only (`sessions_told_of`).
    Ok(handling.told.is_none().then(|| now + handling.worth_sending))
}

/// Takes a letter that waits out of those to send. A postman that has it right now notes what it did: the letter is sent, or
/// stays dropped.
pub async fn drop(db: &Db, row: &OutboxRow, now: OffsetDateTime) -> Result<Operated> {
    let tx = db.begin().await?;
    let Some(row) = Entity::find_by_id(row.id).one(&tx).await? else { return Ok(Operated::Already(row.state)) };
    let changes = ActiveModel {
        state: Set(LetterState::Dropped),
        leased_until: Set(None),
        last_error: Set(Some(DROPPED.to_owned())),
        failed_at: Set(None),
        ..Default::default()
    };
    let update = Entity::update_many().set(changes).filter(Column::Id.eq(row.id));
    if update.filter(Column::State.eq(LetterState::Waiting)).exec(&tx).await?.rows_affected == 0 {
        return Ok(Operated::Already(row.state));
    }
    event::record(&tx, EventKind::MailDropped, None, &row.operated(now)).await?;
    tx.commit().await?;
    let is_leased = row.leased_until.is_some_and(|until| until > now);
    Ok(if is_leased { Operated::MayGoOut } else { Operated::Done })
}

impl Model {
    /// Returns when and from where the letter was caused. For several log-ins, it is the first.
    pub fn asked(&self) -> Option<Asked> {
        let asked = [&self.data["asked"], &self.data["log_ins"][0]].into_iter().find(|asked| asked.is_object());
        asked.and_then(|asked| serde_json::from_value(asked.clone()).ok())
    }

    /// Returns the user that the letter tells of, if it tells of a session.
    pub fn user(&self) -> Option<Uuid> {
        self.letter().ok()?.handling().told.map(|(user, _)| user)
    }

    /// Returns what the event of a command about this letter has: the request ID of the letter's cause.
    fn operated(&self, now: OffsetDateTime) -> Asked {
        let request_id = self.asked().map(|asked| asked.request_id).unwrap_or_default();
        Asked { request_id, ..Asked::of_a_command(now) }
    }
}
