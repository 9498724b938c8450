//! The one place that asks for randomness. All of it comes from the operating system.

use std::cell::RefCell;
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

/// How many bytes of labels a thread asks for at a time.
const STOCK: usize = 512;

thread_local! {
    /// The bytes for the next labels, and how many of them are used up.
    static LABELS: RefCell<([u8; STOCK], usize)> = const { RefCell::new(([0; STOCK], STOCK)) };
}

/// Returns `N` random bytes for a name that is no secret, such as a request's. Every page has two, and to ask the operating
/// system for each was 5 % of its processor time.
///
/// It is not for secrets: the bytes lie in memory before they are used, and two copies of a virtual machine that was stopped
/// in between would go on with the same ones.
///
/// # Panics
/// As [`bytes`].
pub fn label<const N: usize>() -> [u8; N] {
    const { assert!(N <= STOCK) };
    LABELS.with_borrow_mut(|(stock, used)| {
        if *used + N > STOCK {
            (*stock, *used) = (bytes(), 0);
        }
        let mut label = [0; N];
        label.copy_from_slice(&stock[*used..*used + N]);
        *used += N;
        label
    })
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    #[test]
    fn no_label_comes_twice_on_any_thread() {
        let some = || (0..1000).map(|_| (label::<12>(), label::<8>())).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| thread::spawn(some)).collect();
        let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
        let (long, short): (HashSet<_>, HashSet<_>) = all.iter().copied().unzip();
        assert_eq!((long.len(), short.len()), (4000, 4000));
        let first: HashSet<_> = long.iter().map(|label| label[..8].to_vec()).collect();
        assert!(short.iter().all(|label| !first.contains(label.as_slice())), "no label begins another");
    }
}
