//! What is kept of one producer in one topic.
//!
//! ```text
//!           floor            known from                        next
//!   ─ over ──┃ 3: q0@1 ┃ in doubt ┃ 8..11: q1@7.. ┃ hole ┃ 15 ┃ new
//!            └── kept: what is at or above the floor, at most WINDOW sequences ──┘
//! ```
//! The floor is the greatest "lowest in doubt" that the producer has told; what is below is over for good, stored or
//! abandoned, and refused. A hole is a sequence that has not come, or was abandoned: outside FIFO topics several
//! requests are under way and overtake each other. A window that begins while its producer counts on was perhaps kept
//! before and forgotten: below `known from`, only a first try can be told from a repeat of what was stored then.

use std::collections::{VecDeque, vec_deque};

use bytes::{BufMut as _, BytesMut};
use raft_log::types::LogIndex;

use super::places::{Place, Places};
use crate::state::codec::{DecodeError, Reader, put_varint};
use crate::state::command::ProducerStamp;

/// What a row takes in memory beside its places.
const ROW_BYTES: usize = 48;

/// When a producer was last heard: a total order, equal on all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LastUse {
    pub(crate) served_ms: u64,
    pub(crate) index: LogIndex,
    pub(crate) command: u32,
}

/// A producer's own record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) epoch: u64,
    pub(crate) last_use: LastUse,
    /// Nothing below is kept, and nothing below is ever stored again.
    floor: u64,
    /// From here on, what is not kept was not stored.
    known_from: u64,
    /// Behind the highest sequence that was stored.
    next: u64,
}

/// Consecutive sequences that one publish stored.
#[derive(Debug)]
pub(crate) struct Row {
    base: u64,
    count: u32,
    places: Places,
}

/// The window. Invariant: rows do not overlap, are in order, and all end above the floor and at `next` at most.
#[derive(Debug)]
pub(crate) struct Window {
    head: Head,
    rows: VecDeque<Row>,
    bytes: u32,
}

impl Head {
    pub(crate) fn encode(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(32);
        put_varint(&mut out, self.epoch);
        put_varint(&mut out, self.last_use.served_ms);
        put_varint(&mut out, self.last_use.index.0);
        out.put_u32_le(self.last_use.command);
        put_varint(&mut out, self.floor);
        put_varint(&mut out, self.known_from);
        put_varint(&mut out, self.next);
        out
    }

    pub(crate) fn decode(record: &[u8]) -> Result<Head, DecodeError> {
        let mut reader = Reader::new("producer", record);
        let epoch = reader.varint()?;
        let (served_ms, index) = (reader.varint()?, LogIndex(reader.varint()?));
        let last_use = LastUse { served_ms, index, command: reader.u32()? };
        let head =
            Head { epoch, last_use, floor: reader.varint()?, known_from: reader.varint()?, next: reader.varint()? };
        reader.finish()?;
        Ok(head)
    }
}

impl Row {
    pub(crate) fn new(base: u64, places: &[Place]) -> Row {
        assert!(!places.is_empty(), "a row holds a message");
        Row { base, count: u32::try_from(places.len()).expect("a publish is bounded"), places: Places::pack(places) }
    }

    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    fn end(&self) -> u64 {
        self.base + u64::from(self.count)
    }

    pub(crate) fn encode(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(self.places.bytes() + 3);
        put_varint(&mut out, u64::from(self.count));
        self.places.put(&mut out);
        out
    }

    pub(crate) fn decode(base: u64, record: &[u8]) -> Result<Row, DecodeError> {
        let mut reader = Reader::new("results of a producer", record);
        let count = reader.varint32()?;
        if count == 0 || base.checked_add(u64::from(count)).is_none() {
            return Err(reader.invalid());
        }
        let places = Places::read(&mut reader, count)?;
        Ok(Row { base, count, places })
    }

    fn bytes(&self) -> u32 {
        (ROW_BYTES + self.places.bytes()) as u32
    }
}

impl Window {
    /// The window that the first accepted publish of an epoch begins. Of a producer that does not say what it has in
    /// doubt it must be believed that it begins at the beginning.
    pub(crate) fn begin(stamp: ProducerStamp) -> Window {
        let (floor, known_from) = stamp.unsettled.map_or((0, 0), |unsettled| (unsettled.lowest, stamp.base_sequence));
        Window::load(Head { epoch: stamp.epoch, last_use: LastUse::default(), floor, known_from, next: floor })
    }

    /// A window of the store, without its rows.
    pub(crate) fn load(head: Head) -> Window {
        Window { head, rows: VecDeque::new(), bytes: 0 }
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.head.epoch
    }

    pub(crate) fn last_use(&self) -> LastUse {
        self.head.last_use
    }

    pub(crate) fn use_now(&mut self, used: LastUse) {
        assert!(used > self.head.last_use, "commands come in order");
        self.head.last_use = used;
    }

    pub(crate) fn floor(&self) -> u64 {
        self.head.floor
    }

    pub(crate) fn known_from(&self) -> u64 {
        self.head.known_from
    }

    pub(crate) fn next(&self) -> u64 {
        self.head.next
    }

    pub(crate) fn rows(&self) -> vec_deque::Iter<'_, Row> {
        self.rows.iter()
    }

    /// What its results take in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Where each of the sequences `base..base + count` was stored, if it is kept; empty if none is. New ones, which are
    /// nearly all, are seen by one comparison.
    pub(crate) fn known(&self, base: u64, count: u32) -> Vec<Option<Place>> {
        let end = base + u64::from(count);
        if base >= self.head.next {
            return Vec::new();
        }
        let first = self.rows.partition_point(|row| row.end() <= base);
        let mut known = Vec::new();
        for row in self.rows.range(first..).take_while(|row| row.base < end) {
            known.resize(count as usize, None);
            for (sequence, place) in (row.base..).zip(row.places.unpack(row.count)) {
                if (base..end).contains(&sequence) {
                    known[(sequence - base) as usize] = Some(place);
                }
            }
        }
        known
    }

    /// Whether a row of the store is one of this window.
    pub(crate) fn fits(&self, row: &Row) -> bool {
        let behind = self.rows.back().is_none_or(|last| last.end() <= row.base);
        behind && row.end() > self.head.floor && row.end() <= self.head.next
    }

    pub(crate) fn insert(&mut self, row: Row) {
        let at = self.rows.partition_point(|other| other.base < row.base);
        let after = at.checked_sub(1).is_none_or(|before| self.rows[before].end() <= row.base);
        let before = self.rows.get(at).is_none_or(|next| row.end() <= next.base);
        assert!(after && before, "a sequence is stored once");
        self.head.next = self.head.next.max(row.end());
        self.bytes += row.bytes();
        if self.rows.is_empty() {
            // Most windows hold one row for most of their lives.
            self.rows.reserve_exact(1);
        }
        self.rows.insert(at, row);
    }

    /// Raises the floor, if it is lower; answers the rows that ended below it.
    pub(crate) fn raise(&mut self, floor: u64) -> Vec<Row> {
        self.head.floor = self.head.floor.max(floor);
        let over = self.rows.partition_point(|row| row.end() <= self.head.floor);
        let over: Vec<Row> = self.rows.drain(..over).collect();
        self.bytes -= over.iter().map(Row::bytes).sum::<u32>();
        if self.rows.capacity() > 4 * self.rows.len().max(1) {
            self.rows.shrink_to_fit();
        }
        over
    }
}
