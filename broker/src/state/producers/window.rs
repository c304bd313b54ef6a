//! The kept results of one producer in one topic.
//!
//! ```text
//!         first kept                              next
//!   ──refused──┃ 0..3: q1@7..10 ┃ hole ┃ 8: q0@55 ┃ new
//!              └────────── at most WINDOW ─────────┘
//! ```
//! Kept as rows, one per publish, each a list of runs: so many sequences, in one queue, at consecutive offsets. A hole
//! is a sequence that has not come yet; outside FIFO topics, several requests are under way and overtake each other.

use std::collections::BTreeMap;

use bytes::{BufMut, BytesMut};
use raft_log::types::{LogIndex, UnixMillis};

use super::{LastUse, Place, WINDOW};
use crate::model::{QueueId, QueueOffset};
use crate::state::codec::{DecodeError, Reader, put_varint};

/// So many sequences from one on, at consecutive offsets of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    count: u64,
    first: Place,
}

/// The window. Invariant: rows do not overlap, all end above `first_kept`.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) epoch: u64,
    pub(crate) last_use: LastUse,
    /// The sequence behind the highest that was stored.
    next: u64,
    rows: BTreeMap<u64, Vec<Run>>,
    runs: usize,
}

impl Window {
    pub(crate) fn new(epoch: u64) -> Window {
        Window { epoch, last_use: LastUse::default(), next: 0, rows: BTreeMap::new(), runs: 0 }
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The lowest sequence that can still be told stored from new.
    pub(crate) fn first_kept(&self) -> u64 {
        self.next.saturating_sub(WINDOW)
    }

    /// Runs that are kept.
    pub(crate) fn results(&self) -> usize {
        self.runs
    }

    pub(crate) fn bases(&self) -> impl Iterator<Item = u64> + '_ {
        self.rows.keys().copied()
    }

    /// Where a sequence was stored, if it is kept.
    pub(crate) fn find(&self, sequence: u64) -> Option<Place> {
        let (base, runs) = self.rows.range(..=sequence).next_back()?;
        let mut left = sequence - base;
        for run in runs {
            if left < run.count {
                return Some(Place { queue: run.first.queue, offset: run.first.offset.plus(left) });
            }
            left -= run.count;
        }
        None
    }

    pub(super) fn insert(&mut self, base: u64, places: &[Place]) {
        let runs = runs_of(places);
        self.runs += runs.len();
        self.next = self.next.max(base + places.len() as u64);
        let before = self.rows.insert(base, runs);
        assert!(before.is_none(), "a sequence is stored once");
    }

    /// Drops rows that ended below the window; answers their bases.
    pub(super) fn slide(&mut self) -> Vec<u64> {
        let first_kept = self.first_kept();
        let mut dropped = Vec::new();
        while let Some(row) = self.rows.first_entry() {
            let count: u64 = row.get().iter().map(|run| run.count).sum();
            if row.key() + count > first_kept {
                break;
            }
            self.runs -= row.get().len();
            dropped.push(*row.key());
            row.remove();
        }
        dropped
    }
}

fn runs_of(places: &[Place]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for place in places {
        match runs.last_mut() {
            Some(run) if place.queue == run.first.queue && place.offset == run.first.offset.plus(run.count) => {
                run.count += 1;
            }
            _ => runs.push(Run { count: 1, first: *place }),
        }
    }
    runs.shrink_to_fit();
    runs
}

/// The record of a publish's results.
pub(crate) fn encode_row(epoch: u64, used: LastUse, places: &[Place]) -> BytesMut {
    let mut out = BytesMut::with_capacity(64);
    put_varint(&mut out, epoch);
    put_varint(&mut out, used.at.0);
    put_varint(&mut out, used.index.0);
    out.put_u32_le(used.command);
    for run in runs_of(places) {
        put_varint(&mut out, run.count);
        put_varint(&mut out, u64::from(run.first.queue.0));
        put_varint(&mut out, run.first.offset.0);
    }
    out
}

/// Reads what [`encode_row`] wrote.
pub(crate) fn decode_row(record: &[u8]) -> Result<(u64, LastUse, Vec<Place>), DecodeError> {
    let mut reader = Reader::new("producer", record);
    let epoch = reader.varint()?;
    let (at, index) = (UnixMillis(reader.varint()?), LogIndex(reader.varint()?));
    let used = LastUse { at, index, command: reader.u32()? };
    let mut places = Vec::new();
    while reader.left() > 0 {
        let count = reader.varint()?;
        let (queue, offset) = (QueueId(reader.varint32()?), QueueOffset(reader.varint()?));
        if count == 0 || offset.0.checked_add(count).is_none() || count > u64::from(u32::MAX) {
            return Err(reader.invalid());
        }
        places.extend((0..count).map(|i| Place { queue, offset: offset.plus(i) }));
    }
    Ok((epoch, used, places))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(queue: u32, offset: u64) -> Place {
        Place { queue: QueueId(queue), offset: QueueOffset(offset) }
    }

    #[test]
    fn kept_sequences_are_found_and_holes_are_not() {
        let mut window = Window::new(1);
        window.insert(0, &[place(1, 7), place(1, 8), place(0, 3)]);
        window.insert(8, &[place(0, 55)]);
        assert_eq!(window.results(), 3);
        assert_eq!(window.find(1), Some(place(1, 8)));
        assert_eq!(window.find(2), Some(place(0, 3)));
        assert_eq!(window.find(3), None);
        assert_eq!(window.find(8), Some(place(0, 55)));
        assert_eq!((window.find(9), window.next()), (None, 9));
    }

    #[test]
    fn the_window_is_bounded() {
        let mut window = Window::new(1);
        let mut dropped = 0;
        for base in 0..2 * WINDOW {
            window.insert(base, &[place(0, base * 2)]);
            dropped += window.slide().len() as u64;
        }
        assert_eq!((window.results() as u64, dropped), (WINDOW, WINDOW));
        assert_eq!(window.first_kept(), WINDOW);
        assert_eq!(window.find(WINDOW - 1), None);
        assert_eq!(window.find(WINDOW), Some(place(0, 2 * WINDOW)));
    }

    #[test]
    fn rows_go_both_ways() {
        let used = LastUse { at: UnixMillis(5), index: LogIndex(6), command: 7 };
        let places = vec![place(1, 7), place(1, 8), place(0, 3)];
        assert_eq!(decode_row(&encode_row(2, used, &places)), Ok((2, used, places)));
    }
}
