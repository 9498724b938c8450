//! What one user knows about the account: every state that explains all answers so far.
//!
//! An answer that says “done” must have been possible, and leaves the states after it. A refusal leaves the states in which it
//! is right. After a lost connection or a page of a failure, both stay possible: it was done completely, or not at all. The
//! work may also be done later than the client gave up. When no state explains the answers, something was lost or half done.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// A change that a user asks for. Numbers stand for passwords, names, sessions and links, in the order of their first use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// The account is made, and perhaps a session with it.
    Confirm { password: usize, session: Option<usize> },
    /// A session begins.
    LogIn { password: usize, session: usize },
    /// The name is changed.
    Rename { session: usize, name: usize },
    /// The password is changed with the current one: the session gets another id, all others end, all links die.
    Change { session: usize, after: usize, from: usize, to: usize },
    /// The password is changed with a link: all sessions end, all links die.
    Reset { link: usize, to: usize },
    /// The session ends.
    LogOut { session: usize },
}

/// One possible state of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    exists: bool,
    password: usize,
    name: usize,
    sessions: BTreeSet<usize>,
    links: BTreeSet<usize>,
    /// How often the password was changed. Each change has an event and a letter.
    changes: usize,
    /// What was asked for, had no certain answer, and may still be done.
    open: Vec<Act>,
    /// How much was done although a page said that something had failed.
    done_yet_refused: usize,
}

impl State {
    /// Returns the state after the act, or `None` if the act must be refused in this state.
    fn after(&self, act: Act) -> Option<Self> {
        let mut state = self.clone();
        match act {
            Act::Confirm { password, session } => {
                (state.exists, state.password) = (true, password);
                state.sessions.extend(session);
                (!self.exists).then_some(state)
            }
            Act::LogIn { password, session } => {
                state.sessions.insert(session);
                (self.exists && self.password == password).then_some(state)
            }
            Act::Rename { session, name } => {
                state.name = name;
                self.sessions.contains(&session).then_some(state)
            }
            Act::Change { session, after, from, to } => {
                (state.password, state.sessions) = (to, [after].into());
                state.links.clear();
                state.changes += 1;
                (self.sessions.contains(&session) && self.password == from).then_some(state)
            }
            Act::Reset { link, to } => {
                state.password = to;
                state.sessions.clear();
                state.links.clear();
                state.changes += 1;
                (self.exists && self.links.contains(&link)).then_some(state)
            }
            Act::LogOut { session } => {
                state.sessions.remove(&session);
                Some(state)
            }
        }
    }

    /// Returns this state and those in which open acts were done meanwhile.
    fn meanwhile(&self) -> Vec<Self> {
        let mut all = vec![self.clone()];
        for (at, act) in self.open.iter().enumerate() {
            if let Some(mut state) = self.after(*act) {
                state.open.remove(at);
                all.extend(state.meanwhile());
            }
        }
        all
    }
}

/// Returns the states that differ in more than their counts of what was done although it had failed.
fn distinct(mut states: Vec<State>) -> Vec<State> {
    states.sort(); // that count is the last field, and the smallest one stays
    states.dedup_by(|one, before| {
        before.done_yet_refused == one.done_yet_refused.min(before.done_yet_refused)
            && State { done_yet_refused: 0, ..one.clone() } == State { done_yet_refused: 0, ..before.clone() }
    });
    states
}

/// The answer to an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Done,
    /// It was refused for a reason: a wrong password, a dead session, a used link.
    Refused,
    /// A page said that something had failed.
    Failed,
    /// The page came because the time was over. What was asked for may be done later.
    TimedOut,
    /// The request did not reach any server.
    NotSent,
    /// The connection was lost.
    Lost,
}

/// The states that explain all answers of one account.
#[derive(Debug)]
pub struct Ledger {
    states: Vec<State>,
    /// The account, and the newest answers, for a violation.
    pub account: String,
    history: Vec<String>,
    violations: Arc<Mutex<Vec<String>>>,
}

impl Ledger {
    pub fn new(account: String, violations: Arc<Mutex<Vec<String>>>) -> Self {
        Self { states: vec![State::default()], account, history: vec![], violations }
    }

    /// Adds to what a violation tells.
    pub fn tell(&mut self, what: String) {
        self.history.push(what);
    }

    /// Notes a violation, with what happened to the account before.
    pub fn violated(&self, what: &str) {
        let history = self.history[self.history.len().saturating_sub(14)..].join("; ");
        let text = format!("{}: {what} (after: {history})", self.account);
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    /// Keeps the states that explain what was seen.
    fn keep(&mut self, seen: &str, explain: impl Fn(&State) -> Option<State>) {
        let states = self.states.iter().flat_map(State::meanwhile).filter_map(|state| explain(&state)).collect();
        let states = distinct(states);
        if states.is_empty() {
            let (some, all) = (&self.states[..self.states.len().min(2)], self.states.len());
            self.violated(&format!("nothing explains {seen}; it may be {some:?}, {all} in all"));
            // One violation is enough: the states go on as if this had not been seen.
        } else {
            self.states = states;
        }
        self.history.push(seen.to_owned());
    }

    /// Notes the answer to an act.
    pub fn note(&mut self, act: Act, answer: Answer) {
        let seen = format!("{act:?} = {answer:?}");
        match answer {
            Answer::Done => self.keep(&seen, |state| state.after(act)),
            Answer::Refused => self.keep(&seen, |state| state.after(act).is_none().then(|| state.clone())),
            Answer::NotSent => {}
            // A session that this user has no cookie of.
            Answer::Failed | Answer::TimedOut | Answer::Lost if matches!(act, Act::LogIn { .. }) => {}
            Answer::Failed | Answer::TimedOut | Answer::Lost => {
                let mut states = vec![];
                for state in self.states.iter().flat_map(State::meanwhile) {
                    if let Some(mut done) = state.after(act) {
                        done.done_yet_refused += usize::from(answer != Answer::Lost);
                        states.push(done);
                    }
                    if answer != Answer::Failed {
                        let mut later = state.clone();
                        later.open.push(act);
                        states.push(later);
                    }
                    states.push(state);
                }
                self.states = distinct(states);
                self.history.push(seen);
            }
        }
    }

    /// Notes that a link has come.
    pub fn link(&mut self, link: usize) {
        self.keep(&format!("link {link}"), |state| {
            let mut state = state.clone();
            state.links.insert(link);
            Some(state)
        });
    }

    /// Notes whether a session opens the profile, and which name stands there.
    pub fn session(&mut self, session: usize, name: Option<usize>) {
        let seen = format!("session {session} shows {name:?}");
        self.keep(&seen, |state| {
            let right = match name {
                Some(name) => state.sessions.contains(&session) && state.name == name,
                None => !state.sessions.contains(&session),
            };
            right.then(|| state.clone())
        });
    }

    /// Notes how many events and how many letters say that the password was changed. Nothing is under way any more.
    pub fn changes(&mut self, events: usize, letters: usize) {
        self.keep(&format!("{events} events and {letters} letters of changes"), |state| {
            ((state.changes, state.changes) == (events, letters)).then(|| state.clone())
        });
    }

    /// Forgets what may still be done: all work has ended.
    pub fn settle(&mut self) {
        let mut states: Vec<_> = self.states.iter().flat_map(State::meanwhile).collect();
        states.iter_mut().for_each(|state| state.open.clear());
        self.states = distinct(states);
    }

    /// Returns whether the account exists in all states, in some or in none.
    pub fn exists(&self) -> Option<bool> {
        let exists = self.states.iter().filter(|state| state.exists).count();
        if exists == self.states.len() { Some(true) } else { (exists == 0).then_some(false) }
    }

    /// Returns the passwords that may be the right one.
    pub fn passwords(&self) -> BTreeSet<usize> {
        self.states.iter().filter(|state| state.exists).map(|state| state.password).collect()
    }

    /// Returns how much was certainly done although a page said that something had failed.
    pub fn done_yet_refused(&self) -> usize {
        self.states.iter().map(|state| state.done_yet_refused).min().unwrap_or_default()
    }
}
