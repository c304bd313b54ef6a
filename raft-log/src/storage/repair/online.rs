//! Damage in an open log: found around a record that could not be read, served around, and repaired in place.

use super::{Lost, RangeRequest, fill, write};
use crate::storage::StorageError;
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

impl Shared {
    /// The damaged ranges near `index`, ascending; none if it is whole, or no longer in a file.
    pub(crate) fn lost_near(&self, index: LogIndex) -> io::Result<Vec<OpenLost>> {
        let Some(Stretch { segment, start, end, epoch }) = self.stretch(index) else { return Ok(Vec::new()) };
        let (mut last, mut holes): (Option<LogId>, Vec<(Hole, Option<LogId>)>) = (None, Vec::new());
        survey_from(&segment, start, None, Some(end), &mut |found| match found {
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
        let place = {
            let state = self.shared.lock();
            state.catalog.find(refill.lost.hole.first).filter(|place| place.end_offset >= refill.lost.hole.end_offset)
        };
        let Some(place) = place.filter(|place| place.segment.base == refill.base) else { return Ok(()) };
        if self.epoch != refill.epoch {
            return Ok(());
        }
        write(&place.segment, &refill.lost, &refill.bytes).map_err(|source| StorageError::Io {
            action: "repairing",
            file: place.segment.path.clone(),
            source: Arc::new(source),
        })?;
        self.shared.counters.repaired_ranges.fetch_add(1, Relaxed);
        Ok(())
    }
}
