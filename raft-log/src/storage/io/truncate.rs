//! Removing the end of the log, safely at every step.
//!
//! ```text
//!   0 remove the index sidecar of the segment that is cut, sync the folder
//!   1 manifest: intent "entries from N on are removed", without the segments that go as a whole
//!   2 unlink those segments, sync the folder
//!   3 zero what begins with N in the segment that is cut, sync
//!   4 manifest: intent cleared; if the cut segment is sealed, by the manifest that lists the next one
//! ```
//! A crash after 1 is finished at open; before 1 nothing happened. After 4 no header of a removed entry is left on disk where
//! the log goes on, so a later torn write can never bring one back, nor its durable mark (hazards 3). Where that is not sure
//! because the process did not come to 4, the log goes on in a new segment: what the sync of 3 left undone is not to be seen
//! in the page cache (hazards 32).
//!
//! The active segment is zeroed as a whole from the cut on and written again from there. Of a sealed one only the headers
//! are zeroed, and the log goes on in a new segment.

use super::engine::{Engine, failed, unexpected};
use super::waiting::lacks_something;
use crate::planted::{self, Bug};
use crate::storage::StorageError;
use crate::storage::catalog::Place;
use crate::storage::format::{HeaderKind, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use crate::storage::manifest::Manifest;
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
        if first_removed >= self.next && epoch == self.epoch {
            return Ok(());
        }
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
        state.files_epoch = epoch;
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
            Some(place) if place.segment.base == first_removed => Some(SEGMENT_HEADER_BYTES),
            Some(place) => Some(find_offset(place, first_removed).map_err(failed("reading", &place.segment.path))?),
            None => None,
        };

        if let Some(place) = &place {
            self.forget_index(&place.segment)?;
        }
        self.save_manifest(Manifest { truncating: Some(first_removed), segments: kept, ..self.manifest.clone() })?;

        let disk = self.shared.env.disk.clone();
        for segment in removed.iter().rev() {
            self.remove_sidecar(segment)?;
            // An attempt before this one may have removed it.
            if disk.exists(&segment.path).map_err(failed("looking for", &segment.path))? {
                disk.remove(&segment.path).map_err(failed("removing", &segment.path))?;
            }
        }
        if let Some(segment) = removed.first() {
            disk.sync_dir(segment.folder()).map_err(failed("syncing the folder of", &segment.path))?;
        }

        // While no segment is active the intent stays: it says where the last one ends until another follows it.
        let mut goes_on = false;
        if let (Some(place), Some(offset)) = (&place, cut_offset) {
            let cut_active = Some(place.segment.base) == active_base;
            // One that keeps nothing is in the way of its successor, so that cannot be: it waits.
            let may_seal = first_removed > place.segment.base;
            let erased = cut_active && self.erase_active(place, offset, may_seal)?;
            goes_on = erased && self.clear_intent(may_seal)?;
            if !cut_active && !planted::is(Bug::StaleRecordsLeft) {
                erase_headers(place, offset).map_err(failed("truncating", &place.segment.path))?;
            }
        }
        self.shared.lock().catalog.truncate(first_removed, removed.len(), cut_offset);
        match (&mut self.active, cut_offset) {
            (Some(active), Some(offset)) if goes_on => active.offset = offset,
            (active, _) => *active = None,
        }
        Ok(())
    }

    /// Erases the end of the active segment; `false` if there was no space for that and the log may go on elsewhere.
    fn erase_active(&mut self, place: &Place, offset: u64, may_seal: bool) -> Result<bool, StorageError> {
        if planted::is(Bug::StaleRecordsLeft) {
            return Ok(true);
        }
        let segment = &place.segment;
        match write_zeroes(segment, offset, place.end_offset) {
            Err(error) if may_seal && lacks_something(&error) => return Ok(false),
            written => self.waiting.try_again(written).map_err(failed("truncating", &segment.path))?,
        }
        self.shared.sync(segment).map_err(|failure| StorageError::clone(&failure))?;
        Ok(true)
    }

    /// Clears the intent; `false` if there was no space for that and the log may go on elsewhere.
    fn clear_intent(&mut self, may_seal: bool) -> Result<bool, StorageError> {
        let cleared = self.save_manifest(Manifest { truncating: None, ..self.manifest.clone() });
        if may_seal && cleared.is_err() && self.waiting.is_begun() {
            self.waiting.forget_attempt();
            return Ok(false);
        }
        cleared.map(|()| true)
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
    write_zeroes(segment, start, end)?;
    segment.file.sync_data()
}

fn write_zeroes(segment: &Segment, start: u64, end: u64) -> io::Result<()> {
    let zeroes = vec![0; ZERO_CHUNK_BYTES.min(usize::try_from(end - start).unwrap_or(usize::MAX))];
    let mut at = start;
    while at < end {
        let length = zeroes.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        write_over(segment.file.as_ref(), &zeroes[..length], at)?;
        at += length as u64;
    }
    Ok(())
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
