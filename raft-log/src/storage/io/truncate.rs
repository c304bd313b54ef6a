//! Removing the end of the log, safely at every step.
//!
//! ```text
//!   0 remove the index sidecar of the segment that is cut, sync the folder
//!   1 manifest: intent "entries from N on are removed", without the segments that go as a whole
//!   2 unlink those segments, sync the folder
//!   3 zero what begins with N in the segment that is cut, sync
//!   4 manifest: intent cleared
//! ```
//! A crash after 1 is finished at open; before 1 nothing happened. After 4 no header of a removed entry is left on disk,
//! so a later torn write can never bring one back, nor its durable mark (hazards 3).
//!
//! The active segment is zeroed as a whole from the cut on and written again from there. Of a sealed one only the headers
//! are zeroed, and the log goes on in a new segment.

use super::engine::{Engine, failed, unexpected};
use crate::planted::{self, Bug};
use crate::storage::StorageError;
use crate::storage::catalog::Place;
use crate::storage::format::{HeaderKind, RECORD_HEADER_BYTES};
use crate::storage::media::write_over;
use crate::storage::reader::SegmentReader;
use crate::storage::segment::Segment;
use crate::types::{LogId, LogIndex};
use std::io;

/// How much is read at once when headers are looked for.
const WALK_CHUNK_BYTES: usize = 64 << 10;
/// How much is zeroed at once.
const ZERO_CHUNK_BYTES: usize = 1 << 20;

impl Engine {
    /// Removes `first_removed` and all after it; `last` is the id before it.
    pub(super) fn truncate(
        &mut self,
        first_removed: LogIndex,
        last: Option<LogId>,
        epoch: u64,
    ) -> Result<(), StorageError> {
        self.sync_active()?;
        if first_removed < self.next {
            self.remove_from(first_removed)?;
            self.next = first_removed;
            self.last = last;
            self.marked_end = self.marked_end.min(first_removed);
            self.begin_active();
        }
        self.epoch = epoch;
        let mut state = self.shared.lock();
        if epoch == state.epoch {
            let kept = state.tail.next().min(first_removed);
            state.tail.written(kept);
            self.shared.publish_durable(&mut state, epoch, kept);
        }
        Ok(())
    }

    fn remove_from(&mut self, first_removed: LogIndex) -> Result<(), StorageError> {
        let active_base = self.active.as_ref().map(|active| active.segment.base);
        let (removed, place, kept) = {
            let state = self.shared.lock();
            let removed = state.catalog.removed_by(first_removed, active_base);
            let mut kept = state.catalog.listed();
            kept.truncate(kept.len() - removed.len());
            let place = state.catalog.find(first_removed).filter(|place| kept.contains(&place.segment.listed()));
            (removed, place, kept)
        };
        let cut_offset = match &place {
            Some(place) => Some(find_offset(place, first_removed).map_err(failed("reading", &place.segment.path))?),
            None => None,
        };

        if let Some(place) = &place {
            self.forget_index(&place.segment)?;
        }
        self.manifest.truncating = Some(first_removed);
        self.manifest.segments = kept;
        self.save_manifest()?;

        let disk = self.shared.env.disk.clone();
        for segment in removed.iter().rev() {
            self.remove_sidecar(segment)?;
            disk.remove(&segment.path).map_err(failed("removing", &segment.path))?;
        }
        if let Some(segment) = removed.first() {
            disk.sync_dir(segment.folder()).map_err(failed("syncing the folder of", &segment.path))?;
        }

        let cut_active = place.as_ref().is_some_and(|place| Some(place.segment.base) == active_base);
        if let (Some(place), Some(offset)) = (&place, cut_offset)
            && !planted::is(Bug::StaleRecordsLeft)
        {
            let erased =
                if cut_active { erase(&place.segment, offset, place.end_offset) } else { erase_headers(place, offset) };
            erased.map_err(failed("truncating", &place.segment.path))?;
        }

        self.manifest.truncating = None;
        self.save_manifest()?;
        self.shared.lock().catalog.truncate(first_removed, removed.len(), cut_offset);
        match (&mut self.active, cut_offset) {
            (Some(active), Some(offset)) if cut_active => active.offset = offset,
            (active, _) => *active = None,
        }
        Ok(())
    }
}

/// Where the record of `index` begins.
fn find_offset(place: &Place, index: LogIndex) -> io::Result<u64> {
    let mut reader = SegmentReader::chunked(&place.segment, WALK_CHUNK_BYTES);
    let mut offset = place.start.offset;
    loop {
        let header = reader.header(offset)?.map_err(|fault| unexpected(fault, offset))?;
        if matches!(header.kind, HeaderKind::Entry(_)) && header.id.index >= index {
            return Ok(offset);
        }
        offset += header.stride();
    }
}

/// Zeroes a range of a segment, and syncs.
pub(crate) fn erase(segment: &Segment, start: u64, end: u64) -> io::Result<()> {
    let zeroes = vec![0; ZERO_CHUNK_BYTES.min(usize::try_from(end - start).unwrap_or(usize::MAX))];
    let mut at = start;
    while at < end {
        let length = zeroes.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        write_over(segment.file.as_ref(), &zeroes[..length], at)?;
        at += length as u64;
    }
    segment.file.sync_data()
}

/// Zeroes the headers of all records from `start` to the end of the segment, and syncs.
fn erase_headers(place: &Place, start: u64) -> io::Result<()> {
    let segment = &place.segment;
    let mut reader = SegmentReader::chunked(segment, WALK_CHUNK_BYTES);
    let mut offset = start;
    while offset < place.end_offset {
        let header = reader.header(offset)?.map_err(|fault| unexpected(fault, offset))?;
        segment.file.write_all_at(&[0; RECORD_HEADER_BYTES], offset)?;
        offset += header.stride();
    }
    segment.file.sync_data()
}
