//! The one place that reads the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use time::{Duration, OffsetDateTime};

/// How far the clocks of two machines may differ without harm. A larger difference from the database's clock is a warning.
pub const APART: std::time::Duration = std::time::Duration::from_secs(5);

/// A clock that shows UTC in whole seconds. It is cheap to clone, and every clone shows the same time.
///
/// It shows whole seconds because SQLite compares times as text. RFC 3339 text sorts by time only if every time has the
/// same number of digits.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    ahead: Arc<AtomicI64>,
}

impl Clock {
    /// Returns the current time.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn now(&self) -> OffsetDateTime {
        let seconds = OffsetDateTime::now_utc().unix_timestamp() + self.ahead.load(Ordering::Relaxed);
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Moves this clock and all its clones forward, so that a test can watch a link expire.
    pub fn advance(&self, by: Duration) {
        self.ahead.fetch_add(by.whole_seconds(), Ordering::Relaxed);
    }
}
