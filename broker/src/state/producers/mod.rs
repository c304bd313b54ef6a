//! Idempotent producers: what each sequence got, so that a repeat is answered and not stored again (hazards 16).
//!
//! ```text
//!   publish, stamped ─► Plan: what is known, what is new, or a refusal ─► stored ─► record: results, floor, last use
//! ```
//! A producer counts its messages per topic, and says with each publish which sequence is the lowest whose outcome it
//! does not know: below that floor nothing is kept, so that memory goes with what is in flight. One that does not say
//! has the results of its last [`WINDOW`] sequences kept.
//!
//! The bounds on all producers together are met by new ones only. Whoever has been idle for [`IDLE_MIN_MS`] of served
//! time makes room, the longest idle first; if nobody has, a new producer is refused, and surely not stored. No
//! publish can be under way for so long, neither at its client nor between nodes, so nobody is forgotten who could
//! still send a repeat; if one does come, it is answered as unknown.

mod places;
mod plan;
mod served;
mod window;

pub(crate) use places::Place;
pub(crate) use plan::Plan;
pub(crate) use served::ServedTime;
pub(crate) use window::{Head, LastUse, Row, Window};

use std::collections::BTreeMap;

use raft_log::types::LogIndex;

use super::changes::Changes;
use super::command::ProducerStamp;
use super::keys;
use super::views::ProducersView;
use crate::model::{ProducerId, TopicId};

/// Sequences of one producer in a topic that can be in doubt, and how many results are kept of one that does not say.
pub(crate) const WINDOW: u64 = tercet_proto::limits::SEQUENCE_SPAN_MAX;
/// Producers per broker group, each counted once per topic. About 300 bytes of memory each.
pub(crate) const PRODUCERS_MAX: usize = if cfg!(test) { 32 } else { 400_000 };
/// Memory for the results of all producers together.
pub(crate) const RESULTS_BYTES_MAX: usize = if cfg!(test) { 16 << 10 } else { 128 << 20 };
/// While the results are beyond their bound, so many are kept of a producer that does not say what it has in doubt.
pub(crate) const WINDOW_UNDER_PRESSURE: u64 = 64;
/// Served time, in milliseconds, after which a producer may be forgotten. Longer than the longest send timeout of a
/// client, ten minutes, together with the longest way of a request between nodes, one minute.
pub(crate) const IDLE_MIN_MS: u64 = if cfg!(test) { 10_000 } else { 15 * 60_000 };
/// Producers that one publish forgets at most.
const FORGOTTEN_AT_ONCE_MAX: usize = 8;
/// A window with more rows is deleted as a range.
const ROWS_DELETED_SINGLY_MAX: usize = 16;

const _: () = assert!(cfg!(test) || PRODUCERS_MAX >= 100_000, "so many live ones were promised");

/// A producer in a topic.
pub(crate) type ProducerKey = (TopicId, ProducerId);

/// All producers. Invariant: `by_use` holds each window once, at its last use; `bytes` is what their results hold.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    windows: BTreeMap<ProducerKey, Window>,
    by_use: BTreeMap<LastUse, ProducerKey>,
    bytes: usize,
    pub(crate) served: ServedTime,
}

impl Producers {
    pub(crate) fn window(&self, key: ProducerKey) -> Option<&Window> {
        self.windows.get(&key)
    }

    pub(crate) fn view(&self) -> ProducersView {
        ProducersView { count: self.windows.len(), results_bytes: self.bytes }
    }

    /// Makes sure of room for the results of this producer, by forgetting idle ones if it is new, and answers whether
    /// there is. A refusal changes nothing.
    pub(crate) fn make_room(&mut self, key: ProducerKey, changes: &mut Changes) -> bool {
        if self.windows.contains_key(&key) {
            return true;
        }
        for forgotten in 0..FORGOTTEN_AT_ONCE_MAX {
            if self.windows.len() < PRODUCERS_MAX && self.bytes < RESULTS_BYTES_MAX {
                return true;
            }
            let Some((used, idle)) = self.by_use.first_key_value().map(|(used, key)| (*used, *key)) else {
                return false;
            };
            if self.served.since(used.served_ms) < IDLE_MIN_MS {
                return forgotten > 0;
            }
            self.forget(idle, changes);
        }
        true
    }

    /// Forgets producers of a deleted topic, at most `count`; answers how many.
    pub(crate) fn forget_topic(&mut self, topic: TopicId, count: usize, changes: &mut Changes) -> usize {
        let of_topic = self.windows.range((topic, ProducerId(0))..=(topic, ProducerId(u128::MAX)));
        let some: Vec<ProducerKey> = of_topic.take(count).map(|(key, _)| *key).collect();
        some.iter().for_each(|key| self.forget(*key, changes));
        some.len()
    }

    fn forget(&mut self, key: ProducerKey, changes: &mut Changes) {
        let window = self.windows.remove(&key).expect("only who is known is forgotten");
        self.by_use.remove(&window.last_use()).expect("every window is listed by its use");
        self.bytes -= window.bytes();
        let (topic, id) = key;
        changes.delete(keys::producer(topic, id));
        if window.rows().len() > ROWS_DELETED_SINGLY_MAX {
            changes.delete_range(keys::producer_row(topic, id, 0), keys::producer_row(topic, id, u64::MAX));
        } else {
            window.rows().for_each(|row| changes.delete(keys::producer_row(topic, id, row.base())));
        }
    }

    /// Takes note of a publish that was accepted: the places of what it stored, each list from its sequence on, and
    /// what the producer says of itself. A newer epoch drops what the older kept.
    pub(crate) fn record(
        &mut self,
        topic: TopicId,
        stamp: ProducerStamp,
        at: (LogIndex, u32),
        stored: Vec<(u64, Vec<Place>)>,
        changes: &mut Changes,
    ) {
        let key = (topic, stamp.id);
        if self.windows.get(&key).is_some_and(|window| window.epoch() < stamp.epoch) {
            self.forget(key, changes);
        }
        let used = LastUse { served_ms: self.served.total_ms, index: at.0, command: at.1 };
        let counted = if self.bytes < RESULTS_BYTES_MAX { WINDOW } else { WINDOW_UNDER_PRESSURE };
        if let Some(window) = self.windows.get(&key) {
            self.by_use.remove(&window.last_use()).expect("every window is listed by its use");
        }
        let window = self.windows.entry(key).or_insert_with(|| Window::begin(stamp));
        assert_eq!(window.epoch(), stamp.epoch, "a producer has one epoch at a time");
        let before = window.bytes();
        window.use_now(used);
        let other = self.by_use.insert(used, key);
        assert!(other.is_none(), "a command is of one producer");
        for (base, places) in stored {
            let row = Row::new(base, &places);
            changes.put(keys::producer_row(topic, stamp.id, base), &row.encode());
            window.insert(row);
        }
        let last_counted = window.next().saturating_sub(counted).min(stamp.base_sequence);
        let floor = stamp.unsettled.map_or(last_counted, |unsettled| unsettled.lowest);
        for row in window.raise(floor) {
            changes.delete(keys::producer_row(topic, stamp.id, row.base()));
        }
        changes.put(keys::producer(topic, stamp.id), &window.head().encode());
        self.bytes = self.bytes - before + window.bytes();
    }

    /// Takes a producer of the store in; its rows follow.
    pub(crate) fn load(&mut self, key: ProducerKey, head: Head) -> Option<()> {
        let others = (self.by_use.insert(head.last_use, key), self.windows.insert(key, Window::load(head)));
        matches!(others, (None, None)).then_some(())
    }

    /// Takes a row of the store in.
    pub(crate) fn load_row(&mut self, key: ProducerKey, row: Row) -> Option<()> {
        let window = self.windows.get_mut(&key).filter(|window| window.fits(&row))?;
        let before = window.bytes();
        window.insert(row);
        self.bytes = self.bytes - before + window.bytes();
        Some(())
    }
}
