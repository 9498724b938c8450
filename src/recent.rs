//! Values that cost work. Each is made at most once in a given time, however many requests ask for it.

use std::future::Future;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// The last value, and when it was made.
#[derive(Debug)]
pub struct Recent<T> {
    kept: fn(&T) -> Duration,
    last: RwLock<Option<(Instant, T)>>,
    making: Mutex<()>,
}

impl<T: Clone> Recent<T> {
    /// Returns an empty place for values, each of which is used for the time `kept` that it says.
    pub fn new(kept: fn(&T) -> Duration) -> Self {
        Self { kept, last: RwLock::default(), making: Mutex::default() }
    }

    /// Returns the last value if it is young enough, and makes a new one otherwise. All requests that ask while it is being
    /// made wait for that one, so a thousand clients are no more work than one.
    pub async fn get(&self, make: impl Future<Output = T>) -> T {
        if let Some(value) = self.young() {
            return value;
        }
        let _turn = self.making.lock().await;
        if let Some(value) = self.young() {
            return value;
        }
        let value = make.await;
        *self.last.write().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), value.clone()));
        value
    }

    fn young(&self) -> Option<T> {
        let last = self.last.read().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(at, value)| at.elapsed() < (self.kept)(value)).map(|(_, value)| value.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::join;

    use super::*;

    #[tokio::test]
    async fn a_value_is_made_once_for_all_that_ask_while_it_is_young() {
        let (an_hour, not_at_all) = (Recent::new(|_| Duration::from_secs(3600)), Recent::new(|_| Duration::ZERO));
        for (recent, most) in [(an_hour, 1), (not_at_all, 3)] {
            let made = AtomicU32::new(0);
            let make = async || {
                tokio::task::yield_now().await; // the others ask meanwhile
                made.fetch_add(1, Ordering::Relaxed)
            };
            let (one, two, three) = join!(recent.get(make()), recent.get(make()), recent.get(make()));
            assert_eq!((made.load(Ordering::Relaxed), one.max(two).max(three)), (most, most - 1));
        }
    }
}
