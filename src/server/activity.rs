//! What one connection is doing: what its requests wait for, since when, and how much memory they hold.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ipnet::IpNet;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::crowd::Crowd;
use super::listener::Limits;

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waits for its client, which has not sent the whole body.
    Reading,
    /// It waits for the server, which makes the answer.
    Working,
    /// It waits for its client, which has not taken the whole answer.
    Answering,
}

/// What a connection is doing.
pub struct Activity {
    limits: Limits,
    crowd: Arc<Crowd>,
    /// The largest network around the client that one person may have, unless it is a trusted proxy.
    pub network: Option<IpNet>,
    /// The task that serves the connection, to end it when another one needs the place.
    pub task: OnceLock<AbortHandle>,
    state: Mutex<State>,
}

struct State {
    /// How many of its requests are in each [`Phase`].
    requests: [usize; 3],
    /// Whether nothing was asked so far.
    new: bool,
    /// When the connection last went from idle to busy or back.
    since: Instant,
    /// When the server last finished its work for the connection. All that it waited for since is its client.
    waits_since: Instant,
    /// When a part of an answer was last taken, or the only answer was made.
    moved: Instant,
    /// Bytes that its requests and answers hold.
    held: usize,
    /// The connection was cut, and what it held is counted as given back.
    cut: bool,
}

impl State {
    fn is_idle(&self) -> bool {
        self.requests == [0; 3]
    }

    fn has(&self, phase: Phase) -> bool {
        self.requests[phase as usize] > 0
    }
}

impl Activity {
    /// The activity of a connection that begins now.
    pub fn new(limits: Limits, crowd: Arc<Crowd>, network: Option<IpNet>) -> Arc<Self> {
        let now = Instant::now();
        let state =
            State { requests: [0; 3], new: true, since: now, waits_since: now, moved: now, held: 0, cut: false };
        Arc::new(Self { limits, crowd, network, task: OnceLock::new(), state: Mutex::new(state) })
    }

    /// Whether no request is under way.
    pub fn is_idle(&self) -> bool {
        self.state().is_idle()
    }

    /// Whether nothing was asked so far.
    pub fn is_new(&self) -> bool {
        self.state().new
    }

    /// Since when the connection has waited for nothing but its client, unless the server is working for it or it was cut.
    ///
    /// A client that trickles the body of a request, or does not read its answer, is waited for just as one that
    /// is silent: otherwise such requests would keep their places in a full house (slow POST, R.U.D.Y.).
    pub fn waits_since(&self) -> Option<Instant> {
        let state = self.state();
        (!state.cut && !state.has(Phase::Working)).then_some(state.waits_since)
    }

    /// Whether it was cut. Its task may still run for a moment.
    pub fn is_cut(&self) -> bool {
        self.state().cut
    }

    /// How many bytes its requests and answers hold.
    pub fn held(&self) -> usize {
        self.state().held
    }

    /// When the connection has been in one state for too long, or its client has taken nothing of an answer for too
    /// long.
    pub fn deadline(&self) -> Instant {
        let state = self.state();
        let deadline = state.since + if state.new { self.limits.first_request } else { self.limits.pause };
        if state.has(Phase::Answering) { deadline.min(state.moved + self.limits.unread) } else { deadline }
    }

    /// Whether its client has taken nothing of an answer for too long.
    pub fn is_stalled(&self) -> bool {
        let state = self.state();
        state.has(Phase::Answering) && state.moved + self.limits.unread <= Instant::now()
    }

    /// Ends the connection. What it held counts as given back at once, so that nobody else is cut for it.
    pub fn cut(&self) {
        let mut state = self.state();
        state.cut = true;
        self.crowd.give_back(std::mem::take(&mut state.held));
        self.task.get().inspect(|task| task.abort());
    }

    /// A request goes from one phase to another, and from holding so many bytes to so many. Before its first phase and
    /// after its last it has none.
    pub fn change(&self, (from, held): (Option<Phase>, usize), (to, holds): (Option<Phase>, usize)) {
        let now = Instant::now();
        let mut state = self.state();
        let is_first_answer = to == Some(Phase::Answering) && !state.has(Phase::Answering);
        let is_taken = from == Some(Phase::Answering) && holds < held;
        if is_first_answer || is_taken {
            state.moved = now;
        }
        let was_idle = state.is_idle();
        if let Some(phase) = from {
            state.requests[phase as usize] -= 1;
        }
        if let Some(phase) = to {
            state.requests[phase as usize] += 1;
            state.new = false;
        }
        if was_idle != state.is_idle() {
            state.since = now;
        }
        if from == Some(Phase::Working) && !state.has(Phase::Working) {
            state.waits_since = now;
        }
        if state.cut {
            return;
        }
        state.held = state.held - held + holds;
        let is_over = self.crowd.hold(held, holds);
        drop(state);
        if is_over {
            self.crowd.cut_the_biggest();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
