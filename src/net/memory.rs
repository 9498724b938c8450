//! The bytes that all requests and responses hold together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A count of the bytes that requests and responses hold, with a limit.
#[derive(Debug)]
pub struct Memory {
    most: usize,
    held: AtomicUsize,
}

impl Memory {
    /// Returns the count for a crowd that may hold `most` bytes.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: AtomicUsize::new(0) })
    }

    /// Counts that a request which held `before` bytes holds `after` bytes now. Returns whether it grew and more is held
    /// than may be.
    pub fn change(&self, before: usize, after: usize) -> bool {
        if after <= before {
            self.give_back(before - after);
            return false;
        }
        let more = after - before;
        self.held.fetch_add(more, Ordering::Relaxed) + more > self.most
    }

    /// Counts that so many bytes are no longer held.
    pub fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns whether more is held than may be.
    pub fn is_over(&self) -> bool {
        self.held() > self.most
    }

    /// Returns whether at least a quarter of what may be held is free.
    pub fn has_room(&self) -> bool {
        self.held() <= self.most / 4 * 3
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}
