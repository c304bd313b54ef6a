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
use super::prepared::Prepared;
use crate::env::Env;
use crate::planted::{self, Bug};
use crate::storage::StorageError;
use crate::storage::catalog::Placed;
use crate::storage::format::{SEGMENT_HEADER_BYTES, Salt, SegmentHeader};
use crate::storage::manifest::Manifest;
use crate::storage::positions::Positions;
use crate::storage::segment::Segment;
use crate::types::LogIndex;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The name of a file that had a segment's name already and could not be listed. Opening removes it.
const PREPARED_AGAIN_NAME: &str = "again.tmp";

const SYNCING: &str = "syncing";

impl Engine {
    /// Makes a new segment that begins with `base` the active one. Everything before it is synced.
    pub(super) fn roll(&mut self, base: LogIndex) -> Result<(), StorageError> {
        assert_eq!(base, self.next, "a segment begins where the log ends");
        let env = self.shared.env.clone();
        let sealed = self.index_of_active();
        let prepared = match self.preparer.take() {
            Ok(prepared) => prepared,
            Err((file, error)) => return Err(failed("preparing", &file)(self.waiting.met(error))),
        };
        let base_offset = {
            let state = self.shared.lock();
            state.catalog.last().map_or(0, |placed| placed.segment.next_base_offset(placed.end_offset))
        };
        let header = SegmentHeader {
            group: self.shared.options.group,
            base,
            base_offset,
            salt: new_salt(&env, prepared.former),
            file_bytes: prepared.bytes,
            created: Some(env.clock.unix_millis()),
            recycled: prepared.former.is_some(),
        };
        let segment = Arc::new(self.name_segment(prepared, &header)?);
        self.manifest_lists(&segment, &header)?;
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

    /// Makes a prepared file the segment of this header. Until it is listed it may be done again, from its beginning.
    fn name_segment(&mut self, mut prepared: Prepared, header: &SegmentHeader) -> Result<Segment, StorageError> {
        let disk = self.shared.env.disk.clone();
        let path = prepared.path.with_file_name(Segment::name(header.base));
        let named = |prepared: &mut Prepared| {
            if prepared.path == path {
                // An earlier attempt came as far as this; a name is given anew so that it can be synced.
                let unnamed = path.with_file_name(PREPARED_AGAIN_NAME);
                disk.rename(&path, &unnamed).map_err(|error| ("renaming", error))?;
                prepared.path = unnamed;
            }
            let file = &prepared.file;
            file.write_all_at(&header.encode_block(), 0).map_err(|error| ("writing the header of", error))?;
            file.sync_all().map_err(|error| (SYNCING, error))?;
            disk.rename(&prepared.path, &path).map_err(|error| ("naming", error))?;
            prepared.path.clone_from(&path);
            if planted::is(Bug::UnsyncedNames) {
                return Ok(());
            }
            let folder = path.parent().expect("a segment lies in a folder");
            disk.sync_dir(folder).map_err(|error| ("syncing the folder of", error))
        };
        match named(&mut prepared) {
            Ok(()) => Ok(Segment::new(path, prepared.file, header)),
            Err((action, error)) => {
                let error = failed(action, &prepared.path)(self.waiting.met(error));
                if action == SYNCING {
                    // Nothing is known of the file after that, not even its length on disk: another one is made.
                    drop(disk.remove(&prepared.path));
                } else {
                    self.preparer.take_back(prepared);
                }
                Err(error)
            }
        }
    }

    /// Lists a new segment in the manifest.
    fn manifest_lists(&mut self, segment: &Arc<Segment>, header: &SegmentHeader) -> Result<(), StorageError> {
        // The base of this one ends the one before it, whatever a truncation left there.
        let mut manifest = Manifest { truncating: None, ..self.manifest.clone() };
        manifest.segments.push(segment.listed());
        self.save_manifest(manifest).inspect_err(|_| {
            let (path, file, bytes) = (segment.path.clone(), segment.file.clone(), segment.file_bytes);
            let former = header.recycled.then_some(segment.salt);
            self.preparer.take_back(Prepared { path, file, bytes, former });
        })
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
