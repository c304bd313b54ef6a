//! Damage in an open log is filled in its turn, by the only one who writes.

use super::engine::Engine;
use crate::storage::StorageError;
use crate::storage::repair::{Refill, write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

impl Engine {
    /// Writes what was lost, unless it was truncated or released meanwhile.
    pub(super) fn refill(&mut self, refill: &Refill) -> Result<(), StorageError> {
        let hole = &refill.lost.hole;
        if self.epoch != refill.epoch {
            return Ok(());
        }
        // A truncation may be queued behind this, and what lies there be gone for readers already.
        for stretch in self.shared.stretches(hole.first).iter().filter(|stretch| stretch.segment.base == refill.base) {
            let failed = |source| StorageError::Io {
                action: "repairing",
                file: stretch.segment.path.clone(),
                source: Arc::new(source),
            };
            // In memory a truncation takes effect before it does in the file: the survey may have seen the file of the epoch
            // before it. What is written must fill a hole that is there, so that is looked at again, by the only one who writes.
            if stretch.has(hole).map_err(failed)? {
                write(&stretch.segment, &refill.lost, &refill.bytes).map_err(failed)?;
                self.shared.counters.repaired_ranges.fetch_add(1, Relaxed);
                return Ok(());
            }
        }
        Ok(())
    }
}
