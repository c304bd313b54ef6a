//! Giving up the beginning of the log, safely at every step.
//!
//! ```text
//!   release_below:  1 manifest without the released segments    2 rename some of their files, sync the folder
//!   begin_after:    1 manifest: purged up to C, no segments     3 unlink the others, beside the appends that follow
//! ```
//! On a disk above its high-water mark no spares are kept. Else some files are renamed to spares, which become segments again ([`Preparer`](super::Preparer)); its worker unlinks the
//! others, because that takes long.
//! A crash before 1 changed nothing. After it, the files that the manifest does not list lie below the log's start and
//! are removed at open (hazards 5, 24, 25). A reader who holds a segment, or memory of it, goes on reading it: such a
//! file is unlinked, never written again.

use super::engine::{Engine, failed};
use super::prepared::Prepared;
use super::queue::Job;
use super::removal::Doomed;
use super::waiting::lacks_something;
use crate::storage::manifest::Manifest;
use crate::storage::segment::Segment;
use crate::storage::{Done, StorageError};
use crate::types::{LogId, LogIndex};
use std::sync::Arc;

impl Engine {
    /// Removes the oldest sealed segments whose entries are below `below` and purged, and the spares of a disk that has no
    /// room for them; `done` hears when their space is free.
    pub(super) fn release_below(&mut self, below: LogIndex, done: Done) {
        let mut left = Vec::new();
        let released = self.attempt(|engine| {
            left = engine.released_below(below)?;
            Ok(())
        });
        match released {
            Some(Ok(())) => {
                left.extend(self.preparer.unwanted_spares());
                self.count_spares();
                self.preparer.remove(left, done);
            }
            Some(Err(failure)) => done(Err(failure)),
            None => self.pending.push_front(Job::Release { below, done }),
        }
    }

    /// Lets go of them; gives back the files that are still to be removed.
    fn released_below(&mut self, below: LogIndex) -> Result<Vec<Doomed>, StorageError> {
        let Some(purged) = self.manifest.purged else { return Ok(Vec::new()) };
        let released = self.shared.lock().catalog.releasable(below.min(purged.index.next()));
        if released.is_empty() {
            return Ok(Vec::new());
        }
        let mut manifest = self.manifest.clone();
        manifest.segments.drain(..released.len());
        self.save_manifest(manifest)?;
        self.shared.lock().catalog.release(released.len());
        self.give_up(released)
    }

    /// Drops the whole log, which ends before `id`; it goes on behind `id`.
    pub(super) fn begin_after(&mut self, id: LogId, epoch: u64) -> Result<(), StorageError> {
        assert!(self.next <= id.index, "what the log holds is purged or truncated, not begun anew");
        self.save_manifest(Manifest { purged: Some(id), truncating: None, segments: Vec::new() })?;

        self.active = None;
        self.last = Some(id);
        self.next = id.index.next();
        self.marked_end = self.next;
        self.epoch = epoch;
        self.unsynced.synced();
        self.begin_active();
        let dropped = self.shared.lock().catalog.take_all();
        let left = self.give_up(dropped)?;
        self.preparer.remove(left, Box::new(drop));
        let mut state = self.shared.lock();
        state.files_epoch = epoch;
        self.shared.publish_durable(&mut state, epoch, self.next);
        Ok(())
    }

    /// Makes spares of some files; gives back the others. The manifest lists none of them any more.
    fn give_up(&mut self, segments: Vec<Arc<Segment>>) -> Result<Vec<Doomed>, StorageError> {
        let Some(folder) = segments.first().map(|segment| segment.folder().to_path_buf()) else {
            return Ok(Vec::new());
        };
        let disk = self.shared.env.disk.clone();
        let segment_bytes = self.shared.options.segment_bytes_max;
        let (mut spares, mut left) = (Vec::new(), Vec::new());
        for segment in segments {
            self.remove_sidecar(&segment)?;
            let (path, bytes, salt) = (segment.path.clone(), segment.file_bytes, segment.salt);
            let spare_path = segment.spare_path();
            let wanted = bytes == segment_bytes && spares.len() < self.preparer.spares_wanted();
            match Segment::into_sole_file(segment) {
                Some(file) if wanted => match disk.rename(&path, &spare_path) {
                    Ok(()) => spares.push(Prepared { path: spare_path, file, bytes, former: Some(salt) }),
                    Err(error) if lacks_something(&error) => left.push(Doomed { path, sole: Some(file), bytes }),
                    Err(error) => return Err(failed("renaming", &path)(error)),
                },
                sole => left.push(Doomed { path, sole, bytes }),
            }
        }
        disk.sync_dir(&folder).map_err(failed("syncing", &folder))?;
        spares.into_iter().for_each(|spare| self.preparer.keep_spare(spare));
        self.count_spares();
        Ok(left)
    }
}
