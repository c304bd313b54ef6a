//! Bytes that requests hold, together, under one bound. Publishes leave a part of it to what settles and keeps alive: the
//! overload of the ones never refuses the others.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::line::Line;

/// A bound on bytes.
#[derive(Debug)]
pub(super) struct HeldBytes {
    held: AtomicUsize,
    bytes_max: usize,
}

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub(super) struct Hold<'a> {
    of: &'a HeldBytes,
    bytes: usize,
}

impl HeldBytes {
    pub(super) fn new(bytes_max: usize) -> HeldBytes {
        HeldBytes { held: AtomicUsize::new(0), bytes_max }
    }

    /// Holds that many; nothing if they do not fit.
    pub(super) fn hold(&self, bytes: usize, line: Line) -> Option<Hold<'_>> {
        let bytes_max = match line {
            Line::Publishes => self.bytes_max / 4 * 3,
            Line::Calls | Line::Receives => self.bytes_max,
        };
        let held = self.held.fetch_add(bytes, Ordering::Relaxed);
        let hold = Hold { of: self, bytes };
        (held + bytes <= bytes_max).then_some(hold)
    }

    #[cfg(test)]
    pub(super) fn now(&self) -> usize {
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
        let most = bytes.hold(90, Line::Calls);
        assert!(most.is_some() && bytes.hold(11, Line::Calls).is_none());
        assert_eq!(bytes.now(), 90);
        assert!(bytes.hold(10, Line::Receives).is_some());
        drop(most);
        assert_eq!(bytes.now(), 0);
    }

    #[test]
    fn publishes_leave_room_for_the_others() {
        let bytes = HeldBytes::new(100);
        let publishes = bytes.hold(75, Line::Publishes);
        assert!(publishes.is_some() && bytes.hold(1, Line::Publishes).is_none());
        assert!(bytes.hold(25, Line::Calls).is_some());
    }
}
