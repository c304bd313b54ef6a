//! What is needed holds no more of the log than its bound, once a leader has had its turns: the log behind the readable start is as
//! large as retention wants it, or, where more is needed than that, as what is needed, and once more what is needed, which lies
//! between what goes as it is moved.

use super::Violation;
use crate::simulation::ledger::{Ledger, Stored};
use crate::simulation::log::Log;
use crate::simulation::order::Order;

/// Steps for the log that a leader may need, of some bodies each.
const STEPS_MAX: u32 = 250;
/// The entry in which the bound is met, and those that are on their way meanwhile.
const SLACK_BYTES: u64 = 6 << 10;
/// Of a message beside its body, and of its place in a command that moves it.
const BESIDE_BODY_BYTES: u64 = 90;

/// Counts the steps since the log was within its bound.
#[derive(Debug)]
pub(in crate::simulation) struct HeldLog {
    log_bytes_max: u64,
    steps: u32,
    /// The most of them at once.
    pub(in crate::simulation) steps_most: u32,
}

impl HeldLog {
    pub(in crate::simulation) fn new(log_bytes_max: u64) -> HeldLog {
        HeldLog { log_bytes_max, steps: 0, steps_most: 0 }
    }

    /// A command was applied.
    pub(in crate::simulation) fn check(&mut self, ledger: &Ledger, log: &Log, order: &Order) -> Result<(), Violation> {
        if !matches!(order, Order::Sweep | Order::Trim(_) | Order::Relocate(_)) {
            return Ok(());
        }
        self.see(log.bytes_from(ledger.start.0), needed_bytes(ledger))
    }

    fn see(&mut self, bytes: u64, needed: u64) -> Result<(), Violation> {
        let bound = self.bound(needed);
        self.steps = if bytes > bound { self.steps + 1 } else { 0 };
        self.steps_most = self.steps_most.max(self.steps);
        if self.steps <= STEPS_MAX {
            return Ok(());
        }
        let what =
            format!("after {STEPS_MAX} steps the log holds {bytes} bytes, {needed} are needed, bound is {bound}");
        Err(Violation::new("held log", what))
    }

    /// How large the log may be when so much of it is needed.
    pub(in crate::simulation) fn bound(&self, needed: u64) -> u64 {
        self.log_bytes_max.max(needed) + needed + SLACK_BYTES
    }
}

/// Bytes of the bodies that are needed, and of what moves them.
pub(in crate::simulation) fn needed_bytes(ledger: &Ledger) -> u64 {
    let bytes = |stored: Option<&Stored>| stored.map_or(0, |of| of.message.body.len() as u64) + BESIDE_BODY_BYTES;
    let pending: u64 = ledger.pending().map(|(key, _)| bytes(ledger.message(key))).sum();
    let letters = ledger.letters.values().flatten().map(|of| of.origin);
    let letters: u64 = letters.map(|of| bytes(ledger.stored(of.topic, of.queue, of.offset.0))).sum();
    pending + letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_stays_beyond_its_bound_is_noticed() {
        let mut held = HeldLog::new(1000);
        let bound = held.bound(100);
        for _ in 0..STEPS_MAX {
            held.see(bound + 1, 100).unwrap();
        }
        assert!(held.see(bound + 1, 100).is_err());
        held.see(bound, 100).unwrap();
        held.see(bound + 1, 100).unwrap();
    }
}
