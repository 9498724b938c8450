//! Lines of the log that a stranger can cause: at most one per minute, with a count.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two such lines.
const EVERY: Duration = Duration::from_secs(60);

/// A count of what is worth a line of the log. If each of them were a line, an attacker could fill the disk and bury the
/// lines about the attack (CWE-779, logging of excessive data).
#[derive(Debug, Default)]
pub struct Notice(Mutex<Count>);

#[derive(Debug, Default)]
struct Count {
    since_last_line: u64,
    last_line: Option<Instant>,
}

impl Notice {
    /// Returns a count of zero.
    pub const fn new() -> Self {
        Self(Mutex::new(Count { since_last_line: 0, last_line: None }))
    }

    /// Counts one more. When a line is due, returns how many there were since the last line.
    pub fn count(&self, now: Instant) -> Option<u64> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.since_last_line += 1;
        if counted.last_line.is_some_and(|at| now.saturating_duration_since(at) < EVERY) {
            return None;
        }
        counted.last_line = Some(now);
        Some(std::mem::take(&mut counted.since_last_line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_a_line_and_the_next_line_a_minute_later_counts_the_rest() {
        let (notice, now) = (Notice::new(), Instant::now());
        let at = |seconds| notice.count(now + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(59), at(60), at(61), at(121)], [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
