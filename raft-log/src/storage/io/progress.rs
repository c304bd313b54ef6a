//! When the index of a segment is saved: with its first records, now and then while it is written, and when it is sealed.
//! So the next start scans little, and knows how far a recycled segment can have come.

use super::engine::{Engine, failed};
use crate::planted::{self, Bug};
use crate::storage::StorageError;
use crate::storage::segment::Segment;
use crate::storage::sidecar::Sidecar;

/// An index that could not be saved is tried again after this part (1/n) of the usual bytes.
const RETRY_FRACTION: u64 = 8;

impl Engine {
    /// Saves the index of the active segment if it has none yet, or much was written since it was saved.
    pub(super) fn save_index_if_due(&mut self) -> Result<(), StorageError> {
        let Some(active) = &self.active else { return Ok(()) };
        let every_bytes = self.shared.options.sizes.index_every;
        let unsaved = self.indexer.is_unsaved(active.segment.base);
        if active.offset >= self.indexed_to + if unsaved { every_bytes / RETRY_FRACTION } else { every_bytes } {
            self.sync_active()?;
        } else if self.indexed_to > 0 || self.durable_end()? < self.next {
            return Ok(());
        }
        self.save_index();
        Ok(())
    }

    /// Saves what the index of the active segment is now. Everything in it is durable.
    pub(super) fn save_index(&mut self) {
        let Some(sidecar) = self.index_of_active() else { return };
        self.indexed_to = sidecar.end_offset;
        self.indexer.write(sidecar);
    }

    /// The index of the active segment, all of which is durable; `None` while what is in memory has been truncated and
    /// the files not yet.
    pub(super) fn index_of_active(&self) -> Option<Sidecar> {
        let state = self.shared.lock();
        let placed = state.catalog.last().filter(|_| self.active.is_some() && self.epoch == state.epoch)?;
        assert!(placed.end <= state.durable_end, "an index speaks of durable entries only");
        Sidecar::of(placed, &state.terms)
    }

    /// Removes the sidecar of a segment that will be cut, durably: a stale one must never be trusted.
    pub(super) fn forget_index(&mut self, segment: &Segment) -> Result<(), StorageError> {
        if planted::is(Bug::IndexKept) {
            return Ok(());
        }
        self.indexer.forget(segment.base);
        if self.remove_sidecar(segment)? {
            let disk = &self.shared.env.disk;
            disk.sync_dir(segment.folder()).map_err(failed("syncing the folder of", &segment.path))?;
        }
        if self.active.as_ref().is_some_and(|active| active.segment.base == segment.base) {
            self.indexed_to = 0;
        }
        Ok(())
    }

    /// Removes the sidecar of a segment and says whether there was one.
    pub(super) fn remove_sidecar(&self, segment: &Segment) -> Result<bool, StorageError> {
        let disk = &self.shared.env.disk;
        let path = Sidecar::path(segment.folder(), segment.base);
        let exists = disk.exists(&path).map_err(failed("looking for", &path))?;
        if exists {
            disk.remove(&path).map_err(failed("removing", &path))?;
        }
        Ok(exists)
    }
}
