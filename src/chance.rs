//! The one place that asks for randomness. All of it comes from the operating system.

use std::time::Duration;

use uuid::Uuid;

/// Returns `N` random bytes.
///
/// # Panics
/// When the operating system cannot give any. To go on without randomness would be unsafe.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// Returns the id for a new row. It is a UUIDv7, so that new rows lie together at the end of an index.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn id() -> Uuid {
    Uuid::now_v7()
}

/// Returns the first of all ids from the time that lies `by` before the time in this id (RFC 9562, 5.7: milliseconds in the
/// first 48 bits).
pub fn earlier(id: Uuid, by: Duration) -> Uuid {
    let by = by.as_millis().min(id.as_u128() >> 80);
    Uuid::from_u128(((id.as_u128() >> 80) - by) << 80)
}
