//! Bytes that requests hold, together, under one bound.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A bound on bytes.
#[derive(Debug)]
pub(crate) struct HeldBytes {
    held: AtomicUsize,
    bytes_max: usize,
}

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub(crate) struct Hold<'a> {
    of: &'a HeldBytes,
    bytes: usize,
}

impl HeldBytes {
    pub(crate) fn new(bytes_max: usize) -> HeldBytes {
        HeldBytes { held: AtomicUsize::new(0), bytes_max }
    }

    /// Holds that many; nothing if they do not fit.
    pub(crate) fn hold(&self, bytes: usize) -> Option<Hold<'_>> {
        self.hold_below(bytes, self.bytes_max)
    }

    /// The same for one that leaves a part of it to others.
    pub(crate) fn hold_and_leave_a_quarter(&self, bytes: usize) -> Option<Hold<'_>> {
        self.hold_below(bytes, self.bytes_max / 4 * 3)
    }

    fn hold_below(&self, bytes: usize, bytes_max: usize) -> Option<Hold<'_>> {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed);
        let hold = Hold { of: self, bytes };
        (held + bytes <= bytes_max).then_some(hold)
    }

    #[cfg(test)]
    pub(crate) fn now(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.of.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_holds_nothing() {
        let bytes = HeldBytes::new(100);
        let most = bytes.hold(90);
        assert!(most.is_some() && bytes.hold(11).is_none());
        assert_eq!(bytes.now(), 90);
        assert!(bytes.hold(10).is_some());
        drop(most);
        assert_eq!(bytes.now(), 0);
    }

    #[test]
    fn some_leave_room_for_the_others() {
        let bytes = HeldBytes::new(100);
        let most = bytes.hold_and_leave_a_quarter(75);
        assert!(most.is_some() && bytes.hold_and_leave_a_quarter(1).is_none());
        assert!(bytes.hold(25).is_some());
    }
}
