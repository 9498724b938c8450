//! The one place that asks for randomness; all of it comes from the operating system.

use uuid::Uuid;

/// `N` random bytes.
///
/// # Panics
/// When the operating system has no randomness to give. Nothing safe could follow.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// A fresh row id: UUIDv7, so that new rows lie together at the end of an index.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn id() -> Uuid {
    Uuid::now_v7()
}
