//! From a full segment to the next one.
//!
//! ```text
//!   synced old segment ─► header into the prepared file, sync ─► rename to its name ─► sync the folder ─► manifest
//!   ─► the old segment's index, in the background
//! ```
//! In this order (hazards 5): a named segment always has a whole header, its base says that everything before it is
//! durable, and it is in the manifest before a record in it is acknowledged. What a crash leaves between two of these
//! steps is a temporary file or one empty segment; both are dealt with at open. A spare goes the same way as a prepared
//! file: until it is renamed it has no segment's name, and afterwards its header is the new one.

use super::engine::{Active, Engine, failed};
use crate::env::Env;
use crate::planted::{self, Bug};
use crate::storage::StorageError;
use crate::storage::catalog::Placed;
use crate::storage::format::{SEGMENT_HEADER_BYTES, Salt, SegmentHeader};
use crate::storage::positions::Positions;
use crate::storage::segment::Segment;
use crate::types::LogIndex;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

impl Engine {
    /// Makes a new segment that begins with `base` the active one. Everything before it is synced.
    pub(super) fn roll(&mut self, base: LogIndex) -> Result<(), StorageError> {
        assert_eq!(base, self.next, "a segment begins where the log ends");
        let env = self.shared.env.clone();
        let options = &self.shared.options;
        let sealed = self.index_of_active();
        let prepared = self.preparer.take().map_err(|(file, error)| failed("preparing", &file)(error))?;
        let base_offset = {
            let state = self.shared.lock();
            state.catalog.last().map_or(0, |placed| placed.segment.next_base_offset(placed.end_offset))
        };
        let header = SegmentHeader {
            group: options.group,
            base,
            base_offset,
            salt: new_salt(&env, prepared.former),
            file_bytes: prepared.bytes,
            created: Some(env.clock.unix_millis()),
            recycled: prepared.former.is_some(),
        };
        let path = prepared.path.with_file_name(Segment::name(base));
        prepared
            .file
            .write_all_at(&header.encode_block(), 0)
            .map_err(failed("writing the header of", &prepared.path))?;
        prepared.file.sync_all().map_err(failed("syncing", &prepared.path))?;
        env.disk.rename(&prepared.path, &path).map_err(failed("naming", &path))?;
        let segment = Arc::new(Segment::new(path, prepared.file, &header));
        if !planted::is(Bug::UnsyncedNames) {
            env.disk.sync_dir(segment.folder()).map_err(failed("syncing the folder of", &segment.path))?;
        }

        self.manifest.segments.push(segment.listed());
        self.save_manifest()?;
        let mut state = self.shared.lock();
        state.catalog.push(Placed {
            segment: segment.clone(),
            positions: Positions::new(base),
            end: base,
            end_offset: SEGMENT_HEADER_BYTES,
        });
        drop(state);
        self.active = Some(Active { segment, offset: SEGMENT_HEADER_BYTES });
        self.indexed_to = 0;
        if let Some(sidecar) = sealed {
            self.indexer.write(sidecar);
        }
        self.marked_end = self.marked_end.max(base);
        self.begin_active();
        self.preparer.prepare_next();
        self.shared.counters.segments_recycled.fetch_add(u64::from(header.recycled), Relaxed);
        self.count_spares();
        Ok(())
    }

    pub(super) fn count_spares(&self) {
        self.shared.counters.spare_bytes.store(self.preparer.spare_bytes(), Relaxed);
    }
}

/// A salt under which no record of the file's earlier life verifies.
fn new_salt(env: &Env, former: Option<Salt>) -> Salt {
    if let Some(former) = former.filter(|_| planted::is(Bug::RecycledMisread)) {
        return former;
    }
    loop {
        let salt = Salt(env.rng.next_u64());
        if former.is_none_or(|former| former.seed() != salt.seed() && former.tag() != salt.tag()) {
            return salt;
        }
    }
}
