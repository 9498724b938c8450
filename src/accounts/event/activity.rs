//! Recent activity: the events of one account, put together into the lines that its owner reads.

use std::cmp::Reverse;
use std::collections::HashSet;

use time::OffsetDateTime;

use crate::accounts::Result;
use crate::accounts::event::{self, Cause, Event};
use crate::accounts::user::User;
use crate::db::Db;

/// One line: events of one kind. They came from one browser at one address, in a row, unless [`Entry::addresses`] says
/// otherwise.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The newest first; never empty.
    events: Vec<Event>,
}

impl Entry {
    /// Returns the newest of the events.
    pub fn event(&self) -> &Event {
        &self.events[0]
    }

    /// Returns when the first of them happened.
    pub fn first_at(&self) -> OffsetDateTime {
        self.events[self.events.len() - 1].at
    }

    /// Returns how many there are.
    pub fn times(&self) -> usize {
        self.events.len()
    }

    /// Returns how many addresses they came from, if not all of them came from one browser at one address.
    pub fn addresses(&self) -> Option<usize> {
        let addresses = || self.events.iter().map(|event| &event.ip).collect::<HashSet<_>>().len();
        self.events.iter().any(|event| !event.is_like(self.event())).then(addresses)
    }
}

/// How many lines of strangers are told one by one between two events of the owner.
const STRANGERS_SHOWN: usize = 3;

/// Returns what happened to the account lately, the newest first. Two statements, whatever happened.
pub async fn recent(db: &Db, user: &User) -> Result<Vec<Entry>> {
    /// How many events of each sort are looked through: the owner's, and those that strangers can cause. Each sort by
    /// itself, so that an attacker cannot push the owner's out.
    const LOOKED_THROUGH: u64 = 500;
    let mut events = event::newest(db.read(), user.id, false, LOOKED_THROUGH).await?;
    events.extend(event::newest(db.read(), user.id, true, LOOKED_THROUGH).await?);
    events.sort_by_key(|event| Reverse((event.at, event.id)));
    Ok(entries(events))
}

/// Puts events together, the newest first: neighbours of the same kind, browser and address are one entry.
///
/// An attacker with many addresses who has guessed the password must not push that log-in off the first page with more
/// guesses. So between two events of the owner only the newest few entries of strangers stay. The older ones there
/// become one entry for each kind, which says from how many addresses they came.
fn entries(events: Vec<Event>) -> Vec<Entry> {
    let (mut entries, mut strangers) = (vec![], 0);
    // The place of the entry that takes the rest of a kind, since the last event of the owner.
    let mut rest: Vec<usize> = vec![];
    let mut last: Option<(usize, Event)> = None;
    for event in events {
        if let Some((at, before)) = &last
            && before.is_like(&event)
        {
            let entry: &mut Entry = &mut entries[*at];
            entry.events.push(event);
            continue;
        }
        let mut at = entries.len();
        if event.kind.cause() == Cause::Stranger {
            strangers += 1;
        } else {
            strangers = 0;
            rest.clear();
        }
        if strangers > STRANGERS_SHOWN {
            match rest.iter().find(|at| entries[**at].event().kind == event.kind) {
                Some(of_kind) => at = *of_kind,
                None => rest.push(at),
            }
        }
        last = Some((at, event.clone()));
        match entries.get_mut(at) {
            Some(entry) => entry.events.push(event),
            None => entries.push(Entry { events: vec![event] }),
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::event::EventKind;
    use crate::chance;

    /// Returns the entries of these events, newest first: kind, how many, and from how many addresses if not from one
    /// place.
    fn told(events: &[(EventKind, &str)]) -> Vec<(EventKind, usize, Option<usize>)> {
        let event = |(kind, ip): &(EventKind, &str)| Event {
            id: chance::id(),
            at: OffsetDateTime::UNIX_EPOCH,
            kind: *kind,
            user_id: None,
            ip: (*ip).to_owned(),
            user_agent: String::new(),
            request_id: String::new(),
        };
        let entries = entries(events.iter().map(event).collect());
        entries.iter().map(|entry| (entry.event().kind, entry.times(), entry.addresses())).collect()
    }

    #[test]
    fn only_neighbours_are_put_together() {
        use EventKind::{LogIn, LogInFailed};
        assert_eq!(
            told(&[(LogInFailed, "a"), (LogInFailed, "a"), (LogInFailed, "b"), (LogIn, "b"), (LogInFailed, "a")]),
            [(LogInFailed, 2, None), (LogInFailed, 1, None), (LogIn, 1, None), (LogInFailed, 1, None)]
        );
    }

    #[test]
    fn strangers_get_three_entries_and_one_for_each_kind_between_two_of_the_owner() {
        use EventKind::{LimitHit, LogIn, LogInFailed, LogOut};
        let (a, b) = ((LogInFailed, "a"), (LogInFailed, "b"));
        assert_eq!(
            told(&[a, b, a, b, (LimitHit, "a"), b, a, a, (LogOut, "o"), a, b, a, b, (LogIn, "o"), a]),
            [
                (LogInFailed, 1, None),
                (LogInFailed, 1, None),
                (LogInFailed, 1, None),
                (LogInFailed, 4, Some(2)),
                (LimitHit, 1, None),
                (LogOut, 1, None),
                (LogInFailed, 1, None),
                (LogInFailed, 1, None),
                (LogInFailed, 1, None),
                (LogInFailed, 1, None),
                (LogIn, 1, None),
                (LogInFailed, 1, None),
            ]
        );
    }
}
