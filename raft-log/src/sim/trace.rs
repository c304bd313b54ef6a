//! A running hash of everything that happened: two runs of one seed must end with the same.

use std::cell::Cell;

use tokio::time::Instant;

thread_local! {
    static HASH: Cell<u64> = const { Cell::new(0) };
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
}

const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Begins a trace on this thread.
pub(super) fn begin() {
    HASH.set(0xcbf2_9ce4_8422_2325);
    START.set(Some(Instant::now()));
}

/// Takes what happened, and when, into the trace.
pub fn note(what: u64) {
    let at = START.get().map_or(0, |start| u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
    let mut hash = HASH.get();
    for word in [at, what] {
        hash = (hash ^ word).wrapping_mul(PRIME).rotate_left(23);
    }
    HASH.set(hash);
}

/// The hash of the trace so far.
#[must_use]
pub fn trace_hash() -> u64 {
    HASH.get()
}
