//! Sorts the resets that were asked for, so that a flood of strangers' resets does not delay an owner's.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{Condition, QuerySelect, Set};
use time::OffsetDateTime;
use uuid::Uuid;

use super::letter::Priority;
use super::{ActiveModel, Column, Entity, LetterState, unlocked};
use crate::accounts::user::email::Email;
use crate::accounts::{Result, user};
use crate::db::Db;

/// Looks up the addresses of resets that were asked for. Resets for an address with an account go to the front, the others
/// are dropped.
///
/// A request for a reset looks nothing up, so that its work does not tell who has an account. So an attacker can ask for
/// resets of addresses without an account. One by one, each of them would cost the postman two writes, and an honest reset
/// waited 24 seconds behind 20 000 of them. So they are sorted 500 at a time.
pub(super) async fn sort(db: &Db, now: OffsetDateTime) -> Result<()> {
    const AT_ONCE: u64 = 500;
    loop {
        // Only resets that are there already. During a flood more arrive all the time, and no letter would ever be sent.
        let unsorted = Column::State.eq(LetterState::Waiting).and(Column::Priority.eq(Priority::Unsorted));
        let unsorted = unsorted.and(Column::NextAttemptAt.lte(now));
        let rows = Entity::find().select_only().column(Column::Id).column(Column::ToAddress);
        let rows = rows.filter(unsorted.clone()).limit(AT_ONCE).into_tuple::<(Uuid, Email)>().all(db.read()).await?;
        let asked: Vec<_> = rows.into_iter().map(|(id, to)| (id, to.canonical())).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let found = user::with_account(db.read(), asked.iter().map(|(_, to)| to.clone())).await?;
        let (of_accounts, others): (Vec<_>, Vec<_>) = asked.iter().partition(|(_, to)| found.contains(to));
        let first = ActiveModel { priority: Set(Priority::Reset), ..Default::default() };
        let dropped = ActiveModel { state: Set(LetterState::Dropped), ..Default::default() };
        for (rows, change) in [(of_accounts, first), (others, dropped)] {
            if !rows.is_empty() {
                let letters = Column::Id.is_in(rows.into_iter().map(|(id, _)| *id)).and(unsorted.clone());
                let letters = unlocked(Condition::all().add(letters));
                Entity::update_many().set(change).filter(Column::Id.in_subquery(letters)).exec(db.write()).await?;
            }
        }
        if (asked.len() as u64) < AT_ONCE {
            return Ok(());
        }
    }
}
