//! Giving up the beginning of the log, safely at every step.
//!
//! ```text
//!   release_below:  1 manifest without the released segments    2 unlink their files    3 sync the folder
//!   begin_after:    1 manifest: purged up to C, no segments     2 unlink all files      3 sync the folder
//! ```
//! A crash before 1 changed nothing. After it, the files that the manifest does not list lie below the log's start and
//! are removed at open (hazards 5, 24, 25). A reader who holds a segment goes on reading it: its file is unlinked, never
//! changed.

use super::engine::{Engine, failed};
use crate::storage::StorageError;
use crate::storage::segment::Segment;
use crate::types::{LogId, LogIndex};
use std::sync::Arc;

impl Engine {
    /// Removes the oldest sealed segments whose entries are below `below` and purged.
    pub(super) fn release_below(&mut self, below: LogIndex) -> Result<(), StorageError> {
        let Some(purged) = self.manifest.purged else { return Ok(()) };
        let released = self.shared.lock().catalog.releasable(below.min(purged.index.next()));
        if released.is_empty() {
            return Ok(());
        }
        self.manifest.segments.drain(..released.len());
        self.save_manifest()?;
        self.shared.lock().catalog.release(released.len());
        self.remove_files(released)
    }

    /// Drops the whole log, which ends before `id`; it goes on behind `id`.
    pub(super) fn begin_after(&mut self, id: LogId, epoch: u64) -> Result<(), StorageError> {
        assert!(self.next <= id.index, "what the log holds is purged or truncated, not begun anew");
        self.manifest.purged = Some(id);
        self.manifest.segments.clear();
        self.save_manifest()?;

        self.active = None;
        self.last = Some(id);
        self.next = id.index.next();
        self.marked_end = self.next;
        self.epoch = epoch;
        self.unsynced.synced();
        self.begin_active();
        let dropped = self.shared.lock().catalog.take_all();
        self.remove_files(dropped)?;
        let mut state = self.shared.lock();
        self.shared.publish_durable(&mut state, epoch, self.next);
        Ok(())
    }

    fn remove_files(&mut self, segments: Vec<Arc<Segment>>) -> Result<(), StorageError> {
        let disk = self.shared.env.disk.clone();
        for segment in &segments {
            disk.remove(&segment.path).map_err(failed("removing", &segment.path))?;
        }
        if let Some(segment) = segments.first() {
            disk.sync_dir(segment.folder()).map_err(failed("syncing the folder of", &segment.path))?;
        }
        Ok(())
    }
}
