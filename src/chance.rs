//! The one place that asks for randomness. All of it comes from the operating system.

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
