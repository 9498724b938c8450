//! What one connection does: what its requests wait for, since when, and how much memory they hold.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ipnet::IpNet;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::limits::ConnectionLimits;
use super::memory::Memory;

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waits for its client, which has not sent the whole body.
    Reading,
    /// It waits for the server, which makes the response.
    Working,
    /// It waits for its client, which has not taken the whole response.
    Responding,
}

/// How far one request is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What it waits for.
    pub phase: Phase,
    /// The bytes that it and its response hold.
    pub bytes: usize,
}

/// What a connection does.
pub struct Activity {
    limits: ConnectionLimits,
    memory: Arc<Memory>,
    /// The largest network around the client that one customer of a provider may have. A trusted proxy has none.
    pub network: Option<IpNet>,
    /// The task that serves the connection. It is ended when another connection needs the place.
    pub task: OnceLock<AbortHandle>,
    state: Mutex<ActivityState>,
}

struct ActivityState {
    requests: Requests,
    /// Whether the client has sent no request so far.
    new: bool,
    /// When the connection last went from idle to busy or back.
    since: Instant,
    /// When the server last finished its work for the connection. Since then it has waited for the client only.
    waits_since: Instant,
    /// When the client last took a part of a response, or when the first of its responses was made.
    moved: Instant,
    /// The bytes that its requests and responses hold.
    held: usize,
    /// Whether the connection was cut. What it held is counted as given back then.
    cut: bool,
}

/// How many requests of a connection are in each [`Phase`].
#[derive(Default, PartialEq, Eq)]
struct Requests {
    reading: usize,
    working: usize,
    responding: usize,
}

impl Requests {
    fn of(&mut self, phase: Phase) -> &mut usize {
        match phase {
            Phase::Reading => &mut self.reading,
            Phase::Working => &mut self.working,
            Phase::Responding => &mut self.responding,
        }
    }
}

impl ActivityState {
    fn is_idle(&self) -> bool {
        self.requests == Requests::default()
    }
}

impl Activity {
    /// Returns the activity of a connection that begins now.
    pub fn new(limits: ConnectionLimits, memory: Arc<Memory>, network: Option<IpNet>) -> Arc<Self> {
        let now = Instant::now();
        let requests = Requests::default();
        let state =
            ActivityState { requests, new: true, since: now, waits_since: now, moved: now, held: 0, cut: false };
        Arc::new(Self { limits, memory, network, task: OnceLock::new(), state: Mutex::new(state) })
    }

    /// Returns whether the connection has no request in progress.
    pub fn is_idle(&self) -> bool {
        self.state().is_idle()
    }

    /// Returns whether the client has sent no request so far.
    pub fn is_new(&self) -> bool {
        self.state().new
    }

    /// Returns the time since which the connection has waited for nothing but its client. It is `None` while the server
    /// works for the connection, and after the connection was cut.
    ///
    /// A client that trickles the body of a request, or does not read its response, counts like one that is silent.
    /// Otherwise such requests would keep their places when the server is full (slow POST, R.U.D.Y.).
    pub fn waits_since(&self) -> Option<Instant> {
        let state = self.state();
        (!state.cut && state.requests.working == 0).then_some(state.waits_since)
    }

    /// Returns whether the connection was cut. Its task may still run for a moment.
    pub fn is_cut(&self) -> bool {
        self.state().cut
    }

    /// Returns how many bytes its requests and responses hold.
    pub fn held(&self) -> usize {
        self.state().held
    }

    /// Returns when the connection will have been in one state for too long, or its client will have taken nothing of an
    /// response for too long.
    pub fn deadline(&self) -> Instant {
        let state = self.state();
        let deadline = state.since + if state.new { self.limits.first_request } else { self.limits.pause };
        if state.requests.responding > 0 { deadline.min(state.moved + self.limits.unread) } else { deadline }
    }

    /// Returns whether the client has taken nothing of a response for too long.
    pub fn is_stalled(&self) -> bool {
        let state = self.state();
        state.requests.responding > 0 && state.moved + self.limits.unread <= Instant::now()
    }

    /// Ends the connection. What it held counts as given back at once, so that no other connection is cut for it.
    pub fn cut(&self) {
        let mut state = self.state();
        state.cut = true;
        self.memory.give_back(std::mem::take(&mut state.held));
        self.task.get().inspect(|task| task.abort());
    }

    /// Notes the progress of a request, which is `None` before it begins and after it ends. Returns whether all
    /// connections together hold too much memory now.
    #[must_use = "when it is too much, `Crowd::cut_the_biggest` has to run"]
    pub fn change(&self, from: Option<Progress>, to: Option<Progress>) -> bool {
        let now = Instant::now();
        let (before, after) = (from.map(|progress| progress.phase), to.map(|progress| progress.phase));
        let (held, holds) = (from.map_or(0, |progress| progress.bytes), to.map_or(0, |progress| progress.bytes));
        let mut state = self.state();
        let is_first_response = after == Some(Phase::Responding) && state.requests.responding == 0;
        let is_taken = before == Some(Phase::Responding) && holds < held;
        if is_first_response || is_taken {
            state.moved = now;
        }
        let was_idle = state.is_idle();
        if let Some(phase) = before {
            *state.requests.of(phase) -= 1;
        }
        if let Some(phase) = after {
            *state.requests.of(phase) += 1;
            state.new = false;
        }
        if was_idle != state.is_idle() {
            state.since = now;
        }
        if before == Some(Phase::Working) && state.requests.working == 0 {
            state.waits_since = now;
        }
        if state.cut {
            return false;
        }
        state.held = state.held - held + holds;
        self.memory.change(held, holds)
    }

    fn state(&self) -> MutexGuard<'_, ActivityState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
