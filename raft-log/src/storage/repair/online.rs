//! Damage in an open log: found around a record that could not be read, served around, and repaired in place.

use super::{Lost, RangeRequest, Refill, fill};
use crate::storage::error::ReadError;
use crate::storage::format::HeaderKind;
use crate::storage::positions::Position;
use crate::storage::record::Record;
use crate::storage::segment::Segment;
use crate::storage::shared::Shared;
use crate::storage::survey::{Found, Hole, survey_stretch};
use crate::types::{LogId, LogIndex};
use std::io;
use std::sync::Arc;

/// Damage in an open log, as it was in one epoch (see [`crate::storage::shared`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenLost {
    pub(crate) lost: Lost,
    pub(crate) file: std::path::PathBuf,
    epoch: u64,
}

/// A stretch of a segment between two known places.
pub(crate) struct Stretch {
    pub(crate) segment: Arc<Segment>,
    start: Position,
    end: Position,
    epoch: u64,
}

impl Stretch {
    /// The holes in it now, each with the entry before it where a good record tells.
    fn holes(&self) -> io::Result<Vec<(Hole, Option<LogId>)>> {
        let (mut last, mut holes): (Option<LogId>, Vec<(Hole, Option<LogId>)>) = (None, Vec::new());
        survey_stretch(&self.segment, self.start, self.end, &mut |found| match found {
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
    pub(crate) fn has(&self, wanted: &Hole) -> io::Result<bool> {
        let place = |hole: &Hole| (hole.offset, hole.end_offset, hole.first, hole.end);
        Ok(self.holes()?.iter().any(|(hole, _)| place(hole) == place(wanted)))
    }
}

impl Shared {
    /// The damaged ranges near `index`, ascending; none if it is whole, or no longer in a file.
    pub(crate) fn lost_near(&self, index: LogIndex) -> io::Result<Vec<OpenLost>> {
        let mut lost = Vec::new();
        for stretch in self.stretches(index) {
            let holes = stretch.holes()?;
            let Stretch { segment, epoch, .. } = stretch;
            let state = self.lock();
            if state.epoch != epoch {
                return Ok(Vec::new());
            }
            let id_of = |index: LogIndex| Some(LogId { term: state.terms.at(index)?, index });
            lost.extend(holes.into_iter().map(|(mut hole, before)| {
                // The log in memory knows the terms of all its entries.
                let last_lost = hole.end.0.checked_sub(1).map(LogIndex).filter(|last| *last >= hole.first);
                hole.anchor = last_lost.and_then(id_of).or(hole.anchor);
                let before = before.or(hole.first.0.checked_sub(1).map(LogIndex).and_then(id_of));
                OpenLost { lost: Lost { base: segment.base, hole, before }, file: segment.path.clone(), epoch }
            }));
        }
        Ok(lost)
    }

    /// The stretches, between places that the sparse index knows, in which damage before or at `index` may lie, ascending: that
    /// of the entry before as well, since marks lie between the two, and who reads on from there names the later one.
    pub(crate) fn stretches(&self, index: LogIndex) -> Vec<Stretch> {
        let state = self.lock();
        let mut stretches: Vec<Stretch> = Vec::new();
        if state.epoch != state.files_epoch {
            // What is being erased looks like damage. Who met some there comes again.
            return stretches;
        }
        let before = index.0.checked_sub(1).map(LogIndex);
        for index in before.into_iter().chain([index]).filter(|index| *index < state.tail.next()) {
            let Some(place) = state.catalog.find(index) else { continue };
            let segment_end = Position { index: place.end, offset: place.end_offset };
            let end = place.next.unwrap_or(segment_end);
            if stretches.last().is_none_or(|last| last.end != end || last.segment.base != place.segment.base) {
                stretches.push(Stretch { segment: place.segment, start: place.start, end, epoch: state.epoch });
            }
        }
        stretches
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::SimEnv;
    use crate::storage::format::record_header::stride_of;
    use crate::storage::positions::SPACING_BYTES;
    use crate::storage::{HardState, Log, RecordKind, Stepper, StorageOptions};
    use crate::types::{GroupId, Term};
    use std::path::PathBuf;

    fn record(term: u64, index: u64, bytes: usize) -> Record {
        let id = LogId { term: Term(term), index: LogIndex(index) };
        Record::new(id, RecordKind::Command, 1, vec![7; bytes].into())
    }

    /// A log, its file, and where the mark lies before the last entry, which has a place of its own in the sparse index.
    fn log_with_a_mark_before_an_indexed_entry() -> (SimEnv, Log, Stepper, PathBuf, usize) {
        let sim = SimEnv::new(1);
        let options = StorageOptions { cache_bytes_max: 0, ..StorageOptions::new("/d", GroupId(1)) };
        let (log, mut stepper, _) = Log::open_stepped(sim.env(), options).unwrap();
        let done = || Box::new(|result: Result<(), _>| assert!(result.is_ok(), "{result:?}"));
        log.save_hard_state(HardState { term: Term(1), voted_for: None, committed: false }, done()).unwrap();
        let indexed = u64::from(SPACING_BYTES).div_ceil(stride_of(1_000));
        log.append((0..indexed).map(|index| record(1, index, 1_000)).collect(), done()).unwrap();
        stepper.step();
        stepper.idle();
        log.append(vec![record(1, indexed, 1_000)], done()).unwrap();
        stepper.step();
        let path = std::path::Path::new("/d/log").join(crate::storage::segment::Segment::name(LogIndex(0)));
        let mark = usize::try_from(4_096 + indexed * stride_of(1_000)).unwrap();
        (sim, log, stepper, path, mark)
    }

    // Found under simulation: one bad block took an entry and the mark behind it. Who read on from the entry before named the
    // next one, and who looked at the place of that one found nothing.
    #[test]
    fn a_mark_right_before_an_entry_that_the_index_knows_is_repaired() {
        let (sim, log, mut stepper, path, mark) = log_with_a_mark_before_an_indexed_entry();
        sim.disk.flip_bit(&path, mark + 30, 0);
        let indexed = log.bounds().last.unwrap().index.0;

        let read = || log.read(LogIndex(indexed - 1), LogIndex(indexed + 1), usize::MAX);
        let Err(ReadError::Corrupt { index, .. }) = read() else { panic!("the mark is on the way") };
        assert_eq!(index, LogIndex(indexed));
        let lost = log.lost_near(index).unwrap().remove(0);
        assert!(lost.lost.is_marks_only());
        log.refill(lost, &[], Box::new(|result| assert!(result.is_ok(), "{result:?}"))).unwrap();
        stepper.step();
        assert_eq!(read().unwrap().len(), 2);
        assert!(log.lost_near(index).unwrap().is_empty());
    }

    // The scrub reads up to a place that the index knows, and looked no further back than to the last entry before it.
    #[tokio::test]
    async fn the_scrub_meets_damaged_marks_at_the_end_of_what_it_reads() {
        let (sim, log, _stepper, path, mark) = log_with_a_mark_before_an_indexed_entry();
        log.damage().attend();
        sim.disk.flip_bit(&path, mark + 30, 0);
        let mut place = None;
        loop {
            let scrubbed = log.scrub(place, 1);
            place = scrubbed.next;
            if place.is_none() {
                break;
            }
        }
        assert_eq!(log.damage().next(None).await, log.bounds().last.unwrap().index);
    }

    #[tokio::test]
    async fn nothing_is_repaired_before_a_truncation_has_reached_the_file() {
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

        // In memory the entry is another one already; in the file it is not. What was surveyed before changes nothing either.
        let lost = log.lost_near(LogIndex(1)).unwrap().remove(0);
        log.truncate_after(Some(LogIndex(0)), done()).unwrap();
        let appended = [record(2, 1, short), record(2, 2, 100)];
        log.append(appended.to_vec(), done()).unwrap();
        assert_eq!(log.lost_near(LogIndex(1)).unwrap(), []);
        log.damage().attend();
        log.scrub(None, u64::MAX >> 1);
        assert!(
            log.damage().settled(LogIndex(1), std::time::Duration::ZERO).await,
            "nobody reports what is being removed"
        );
        log.refill(lost, &[record(1, 1, long)], done()).unwrap();
        stepper.step();
        assert_eq!(log.read(LogIndex(1), LogIndex(3), usize::MAX).unwrap(), appended);
        assert_eq!(log.stats().repaired_ranges, 0);
    }
}
