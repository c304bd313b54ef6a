//! Where the I/O thread and the one that makes space ready meet.

use super::prepared::Prepared;
use super::removal::Removals;
use crate::exec::sync::{Condvar, Mutex, MutexGuard};

pub(super) const POISONED: &str = "no thread panics while it holds the desk";

/// Where the I/O thread and the worker meet.
#[derive(Default)]
pub(super) struct Desk {
    inner: Mutex<Inner>,
    pub(super) changed: Condvar,
}

#[derive(Default)]
pub(super) struct Inner {
    /// A next file is to be made.
    pub(super) wanted: bool,
    pub(super) ready: Option<Ready>,
    /// The worker is busy with the next file; whoever takes it waits for that step to end.
    pub(super) working: bool,
    /// The last attempt to make a file failed for want of space.
    pub(super) starved: bool,
    /// The disk is above its high-water mark: nothing is kept on it that is not needed.
    pub(super) crowded: bool,
    pub(super) stop: bool,
    pub(super) removals: Removals,
}

pub(super) struct Ready {
    pub(super) prepared: Prepared,
    pub(super) zeroed_to: u64,
}

impl Inner {
    pub(super) fn lacks_file(&self) -> bool {
        self.wanted && self.ready.is_none()
    }
}

impl Desk {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect(POISONED)
    }
}
