//! Idempotent producers: what each sequence got, so that a repeat is answered and not stored again (hazards 16).
//!
//! A producer counts its messages per topic. The last [`WINDOW`] sequences keep their results; inside, a repeat gets
//! the result of that very sequence, below, whether it was stored cannot be told and it is refused. Bounded in
//! producers and in results; who has been idle for [`IDLE_MIN_MS`] makes room, oldest first, and if nobody has, new ones
//! are refused rather than a live producer forgotten.

mod plan;
mod window;

pub(crate) use plan::{Place, Plan};
pub(crate) use window::{Window, decode_row, encode_row};

use std::collections::{BTreeMap, BTreeSet};

use raft_log::types::{LogIndex, UnixMillis};

use super::changes::Changes;
use super::keys;
use crate::model::{ProducerId, TopicId};

/// Sequences of one producer and topic whose results are kept.
pub(crate) const WINDOW: u64 = 4096;
/// Producers per broker group, each counted once per topic.
pub(crate) const PRODUCERS_MAX: usize = 10_000;
/// Results of all producers together: runs of consecutive offsets in one queue.
pub(crate) const RESULTS_MAX: usize = 4_000_000;
/// A producer's retries end long before it is forgotten.
pub(crate) const IDLE_MIN_MS: u64 = 120_000;

/// A producer in a topic.
pub(crate) type ProducerKey = (ProducerId, TopicId);

/// When a producer was last heard: a total order, equal on all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LastUse {
    pub(crate) at: UnixMillis,
    pub(crate) index: LogIndex,
    pub(crate) command: u32,
}

/// All producers. Invariant: `by_use` holds each window once, at its last use.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    windows: BTreeMap<ProducerKey, Window>,
    by_use: BTreeSet<(LastUse, ProducerKey)>,
    results: usize,
}

impl Producers {
    pub(crate) fn window(&self, key: ProducerKey) -> Option<&Window> {
        self.windows.get(&key)
    }

    /// Makes room for results of this producer, by forgetting idle ones if it must and can.
    pub(crate) fn make_room(&mut self, key: ProducerKey, now: UnixMillis, changes: &mut Changes) -> bool {
        let more = usize::from(!self.windows.contains_key(&key));
        while self.windows.len() + more > PRODUCERS_MAX || self.results >= RESULTS_MAX {
            let Some((used, key)) = self.by_use.first().copied() else { return false };
            if now.0.saturating_sub(used.at.0) < IDLE_MIN_MS {
                return false;
            }
            self.forget(key, changes);
        }
        true
    }

    fn forget(&mut self, key: ProducerKey, changes: &mut Changes) {
        let window = self.windows.remove(&key).expect("listed by use");
        self.by_use.remove(&(window.last_use, key));
        self.results -= window.results();
        window.bases().for_each(|base| changes.delete(keys::producer(key.0, key.1, base)));
    }

    /// Keeps the result of a publish: its places, from the sequence on. A newer epoch drops what the older kept.
    pub(crate) fn record(
        &mut self,
        key: ProducerKey,
        epoch: u64,
        used: LastUse,
        rows: Vec<(u64, Vec<Place>)>,
        changes: &mut Changes,
    ) {
        if self.windows.get(&key).is_some_and(|window| window.epoch < epoch) {
            self.forget(key, changes);
        }
        for (base, places) in &rows {
            changes.put(keys::producer(key.0, key.1, *base), &encode_row(epoch, used, places));
        }
        let dropped = self.insert(key, epoch, used, rows);
        dropped.into_iter().for_each(|base| changes.delete(keys::producer(key.0, key.1, base)));
    }

    /// Takes a row in, and returns the bases of those that left the window.
    fn insert(&mut self, key: ProducerKey, epoch: u64, used: LastUse, rows: Vec<(u64, Vec<Place>)>) -> Vec<u64> {
        let window = self.windows.entry(key).or_insert_with(|| Window::new(epoch));
        assert_eq!(window.epoch, epoch, "a producer has one epoch at a time");
        let before = window.results();
        self.by_use.remove(&(window.last_use, key));
        window.last_use = window.last_use.max(used);
        self.by_use.insert((window.last_use, key));
        rows.into_iter().for_each(|(base, places)| window.insert(base, &places));
        let dropped = window.slide();
        self.results = self.results - before + window.results();
        dropped
    }

    /// Takes a row of the store in.
    pub(crate) fn load(&mut self, key: ProducerKey, base: u64, row: (u64, LastUse, Vec<Place>)) -> Option<()> {
        let (epoch, used, places) = row;
        if places.is_empty() || self.windows.get(&key).is_some_and(|window| window.epoch != epoch) {
            return None;
        }
        let dropped = self.insert(key, epoch, used, vec![(base, places)]);
        dropped.is_empty().then_some(())
    }
}
