//! Damage in an open log: found around a record that could not be read, served around, and repaired in place.

use super::{Lost, RangeRequest, fill, write};
use crate::storage::StorageError;
use crate::storage::catalog::Place;
use crate::storage::error::ReadError;
use crate::storage::format::HeaderKind;
use crate::storage::io::Engine;
use crate::storage::positions::Position;
use crate::storage::record::Record;
use crate::storage::segment::Segment;
use crate::storage::shared::Shared;
use crate::storage::survey::{Found, Hole, survey_from};
use crate::types::{LogId, LogIndex};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Damage in an open log, as it was in one epoch (see [`crate::storage::shared`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenLost {
    pub(crate) lost: Lost,
    pub(crate) file: std::path::PathBuf,
    epoch: u64,
}

/// A repair on its way to the I/O thread.
pub(crate) struct Refill {
    base: LogIndex,
    lost: Lost,
    bytes: Vec<u8>,
    epoch: u64,
}

/// A stretch of a segment between two known places.
struct Stretch {
    segment: Arc<Segment>,
    start: Position,
    end: Position,
    epoch: u64,
}

impl Stretch {
    /// The holes in it now, each with the entry before it where a good record tells.
    fn holes(&self) -> io::Result<Vec<(Hole, Option<LogId>)>> {
        let (mut last, mut holes): (Option<LogId>, Vec<(Hole, Option<LogId>)>) = (None, Vec::new());
        survey_from(&self.segment, self.start, None, Some(self.end), &mut |found| match found {
            Found::Good(header) => {
                if let HeaderKind::Entry(_) = header.kind {
                    last = Some(header.id);
                }
            }
            Found::Hole(hole) => {
                holes.push((hole, last));
                last = None;
            }
        })?;
        Ok(holes)
    }

    /// Whether exactly this hole is there now.
    fn has(&self, wanted: &Hole) -> io::Result<bool> {
        let place = |hole: &Hole| (hole.offset, hole.end_offset, hole.first, hole.end);
        Ok(self.holes()?.iter().any(|(hole, _)| place(hole) == place(wanted)))
    }
}

impl Shared {
    /// The damaged ranges near `index`, ascending; none if it is whole, or no longer in a file.
    pub(crate) fn lost_near(&self, index: LogIndex) -> io::Result<Vec<OpenLost>> {
        let Some(stretch) = self.stretch(index) else { return Ok(Vec::new()) };
        let holes = stretch.holes()?;
        let Stretch { segment, epoch, .. } = stretch;
        let state = self.lock();
        if state.epoch != epoch {
            return Ok(Vec::new());
        }
        let id_of = |index: LogIndex| Some(LogId { term: state.terms.at(index)?, index });
        let lost = holes.into_iter().map(|(mut hole, before)| {
            // The log in memory knows the terms of all its entries.
            let last_lost = hole.end.0.checked_sub(1).map(LogIndex).filter(|last| *last >= hole.first);
            hole.anchor = last_lost.and_then(id_of).or(hole.anchor);
            let before = before.or(hole.first.0.checked_sub(1).map(LogIndex).and_then(id_of));
            OpenLost { lost: Lost { base: segment.base, hole, before }, file: segment.path.clone(), epoch }
        });
        Ok(lost.collect())
    }

    /// The stretch between the places that the sparse index knows around `index`.
    fn stretch(&self, index: LogIndex) -> Option<Stretch> {
        let state = self.lock();
        if index >= state.tail.next() {
            return None;
        }
        let place = state.catalog.find(index)?;
        let segment_end = Position { index: place.end, offset: place.end_offset };
        let end = place.next.unwrap_or(segment_end);
        Some(Stretch { segment: place.segment, start: place.start, end, epoch: state.epoch })
    }

    /// The first entries of the request that fit into `bytes_max`, if this log holds the anchor; `None` if it does not.
    pub(crate) fn matching(&self, request: RangeRequest, bytes_max: usize) -> Result<Option<Vec<Record>>, ReadError> {
        let RangeRequest { first, end, anchor } = request;
        loop {
            let begun = {
                let state = self.lock();
                let held = anchor.index < state.tail.next() && state.terms.at(anchor.index) == Some(anchor.term);
                let there = state.catalog.first().is_some_and(|oldest| first >= oldest);
                if !held || !there || end.0 > anchor.index.0 + 1 {
                    return Ok(None);
                }
                state.epoch
            };
            let records = self.read(first, end, bytes_max)?;
            // A truncation in between could have made it a mixture of two logs.
            if let Some(records) = records
                && self.lock().epoch == begun
            {
                return Ok((!records.is_empty()).then_some(records));
            }
        }
    }
}

impl OpenLost {
    /// What the I/O thread is to write: all entries of the range, under this log's own headers.
    pub(crate) fn refill(self, shared: &Shared, records: &[Record]) -> io::Result<Option<Refill>> {
        let OpenLost { lost, epoch, .. } = self;
        let Some(segment) = shared.lock().catalog.segment(lost.base) else { return Ok(None) };
        let bytes = fill(&lost, records, segment.salt).map_err(io::Error::other)?;
        Ok(Some(Refill { base: lost.base, lost, bytes, epoch }))
    }
}

impl Engine {
    /// Writes what was lost, unless it was truncated or released meanwhile.
    pub(in crate::storage) fn refill(&mut self, refill: &Refill) -> Result<(), StorageError> {
        let hole = &refill.lost.hole;
        let place = self.shared.lock().catalog.find(hole.first).filter(|place| place.end_offset >= hole.end_offset);
        let Some(place) = place.filter(|place| place.segment.base == refill.base) else { return Ok(()) };
        if self.epoch != refill.epoch {
            return Ok(());
        }
        // In memory a truncation takes effect before it does in the file: the survey may have seen the file of the epoch before
        // it. What is written must fill a hole that is there, so that is looked at again, by the only one who writes.
        let end = place.next.unwrap_or(Position { index: place.end, offset: place.end_offset });
        let Place { segment, start, .. } = place;
        let stretch = Stretch { segment, start, end, epoch: refill.epoch };
        let failed = |source| StorageError::Io {
            action: "repairing",
            file: stretch.segment.path.clone(),
            source: Arc::new(source),
        };
        if !stretch.has(hole).map_err(failed)? {
            return Ok(());
        }
        write(&stretch.segment, &refill.lost, &refill.bytes).map_err(failed)?;
        self.shared.counters.repaired_ranges.fetch_add(1, Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::SimEnv;
    use crate::storage::format::record_header::stride_of;
    use crate::storage::{HardState, Log, RecordKind, StorageOptions};
    use crate::types::{GroupId, Term};

    fn record(term: u64, index: u64, bytes: usize) -> Record {
        let id = LogId { term: Term(term), index: LogIndex(index) };
        Record::new(id, RecordKind::Command, 1, vec![7; bytes].into())
    }

    #[test]
    fn a_repair_that_was_surveyed_before_a_truncation_reached_the_file_changes_nothing() {
        let sim = SimEnv::new(1);
        let options = StorageOptions { cache_bytes_max: 0, ..StorageOptions::new("/d", GroupId(1)) };
        let (log, mut stepper, _) = Log::open_stepped(sim.env(), options).unwrap();
        let done = || Box::new(|result: Result<(), _>| assert!(result.is_ok(), "{result:?}"));
        let voted = HardState { term: Term(2), voted_for: None, committed: false };
        log.save_hard_state(voted, done()).unwrap();
        // An entry as long as a shorter one and three marks.
        let (long, short) = (400, 400 - 3 * usize::try_from(stride_of(0)).unwrap());
        log.append(vec![record(1, 0, 100), record(1, 1, long), record(1, 2, 100)], done()).unwrap();
        stepper.step();
        let segment = log.segments()[0].base;
        let path = std::path::Path::new("/d/log").join(crate::storage::segment::Segment::name(segment));
        sim.disk.flip_bit(&path, usize::try_from(4_096 + stride_of(100)).unwrap() + 100, 0);

        // In memory the entry is another one already; in the file it is not.
        log.truncate_after(Some(LogIndex(0)), done()).unwrap();
        let appended = [record(2, 1, short), record(2, 2, 100)];
        log.append(appended.to_vec(), done()).unwrap();
        let lost = log.lost_near(LogIndex(1)).unwrap().remove(0);
        log.refill(lost, &appended[..1], done()).unwrap();
        stepper.step();
        assert_eq!(log.read(LogIndex(1), LogIndex(3), usize::MAX).unwrap(), appended);
        assert_eq!(log.stats().repaired_ranges, 0);
    }
}
