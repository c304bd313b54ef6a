//! Opening: the working set from the records of the store.
//!
//! Everything in memory follows from the records, the same as it was when they were written: a state that was reopened
//! and one that ran on answer alike.

use std::ops::ControlFlow;

use bytes::{BufMut, Bytes, BytesMut};
use raft_log::AppliedPoint;
use raft_log::types::{LogId, LogIndex, Term, UnixMillis};

use super::apply::Core;
use super::codec::{DecodeError, Reader};
use super::command::Bootstrap;
use super::consumption::{Pending, Subscription, Tail};
use super::digest::Digest;
use super::fault::Fault;
use super::ids::NextIds;
use super::index::IndexBlock;
use super::keys::{self, KeyReader};
use super::level::Level;
use super::producers::{Head, Row};
use super::retained::Retained;
use super::store::Store;
use super::topics::Queue;
use crate::model::{ClientKey, ConsumerGroupId, MessageGroupKey, ProducerId, QueueId, TopicId};

/// The record beside the applied entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AppliedRecord {
    pub(crate) point: AppliedPoint,
    pub(crate) clock: UnixMillis,
    /// See [`ServedTime`](super::producers::ServedTime).
    pub(crate) served_ms: u64,
    pub(crate) digest: Digest,
    /// Bytes in the last stretch of the log.
    pub(crate) filled: u64,
}

impl AppliedRecord {
    pub(crate) fn encode(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(64);
        put_log_id(&mut out, self.point.id);
        out.put_u64_le(self.clock.0);
        out.put_u64_le(self.served_ms);
        out.put_u64_le(self.digest.0);
        out.put_u64_le(self.filled);
        out.put_u8(u8::from(self.point.membership.is_some()));
        if let Some((id, members)) = &self.point.membership {
            put_log_id(&mut out, *id);
            out.put_slice(members);
        }
        out
    }

    fn decode(record: &[u8]) -> Result<AppliedRecord, DecodeError> {
        let mut reader = Reader::new("applied point", record);
        let id = read_log_id(&mut reader)?;
        let (clock, served_ms, digest) = (UnixMillis(reader.u64()?), reader.u64()?, Digest(reader.u64()?));
        let filled = reader.u64()?;
        let membership = if reader.flag()? {
            let at = read_log_id(&mut reader)?;
            let left = reader.left();
            Some((at, Bytes::copy_from_slice(reader.bytes(left)?)))
        } else {
            None
        };
        reader.finish()?;
        Ok(AppliedRecord { point: AppliedPoint { id, membership }, clock, served_ms, digest, filled })
    }
}

fn put_log_id(out: &mut BytesMut, id: LogId) {
    out.put_u64_le(id.term.0);
    out.put_u64_le(id.index.0);
}

fn read_log_id(reader: &mut Reader<'_>) -> Result<LogId, DecodeError> {
    Ok(LogId { term: Term(reader.u64()?), index: LogIndex(reader.u64()?) })
}

/// The working set and the applied point; both empty for an empty store.
pub(crate) fn load(store: &Store) -> Result<(Core, Option<AppliedRecord>), Fault> {
    let mut core = Core::default();
    let Some(record) = store.get(keys::APPLIED)? else { return Ok((core, None)) };
    let applied = AppliedRecord::decode(&record).map_err(|error| Fault::damaged(keys::APPLIED, error))?;
    core.clock = applied.clock;
    core.counters.clock = applied.clock;
    core.producers.served.total_ms = applied.served_ms;
    core.history.push(applied.point.id, applied.digest);
    if let Some(record) = store.get(keys::CLUSTER)? {
        core.cluster = Some(Bootstrap::decode(&record).map_err(|error| Fault::damaged(keys::CLUSTER, error))?);
    }
    if let Some(record) = store.get(keys::LEVEL)? {
        let level = Level::read(&mut Reader::new("level", &record));
        core.level = level.map_err(|error| Fault::damaged(keys::LEVEL, error))?;
    }
    if let Some(record) = store.get(keys::RETAINED)? {
        core.retained = Retained::decode(&record).map_err(|error| Fault::damaged(keys::RETAINED, error))?;
    }
    if let Some(record) = store.get(keys::NEXT_IDS)? {
        core.ids = NextIds::decode(&record).map_err(|error| Fault::damaged(keys::NEXT_IDS, error))?;
    }
    core.needed.load_filled(applied.filled);
    load_needed(&mut core, store)?;
    if let Some(record) = store.get(keys::SERVED)? {
        core.groups.load_served(&record).map_err(|error| Fault::damaged(keys::SERVED, error))?;
    }
    load_deleted(&mut core, store)?;
    load_topics(&mut core, store)?;
    load_groups(&mut core, store)?;
    load_subscriptions(&mut core, store)?;
    load_producers(&mut core, store)?;
    Ok((core, Some(applied)))
}

/// Visits all records of a kind; a key that is too short, or a record that does not fit, is damage.
fn each(
    store: &Store,
    kind: &[u8],
    mut take: impl FnMut(KeyReader<'_>, &[u8]) -> Result<Option<()>, DecodeError>,
) -> Result<(), Fault> {
    store.scan(kind, |key, value| match take(KeyReader::new(key), value) {
        Ok(Some(())) => Ok(ControlFlow::Continue(())),
        Ok(None) => Err(Fault::damaged(key, "it does not fit the others")),
        Err(error) => Err(Fault::damaged(key, error)),
    })
}

fn load_needed(core: &mut Core, store: &Store) -> Result<(), Fault> {
    let needed = &mut core.needed;
    each(store, keys::STRETCHES, |mut key, record| {
        let Some(first) = key.u64() else { return Ok(None) };
        let letters = Reader::new("stretch", record).u64()?;
        Ok(needed.load(LogIndex(first), letters).then_some(()))
    })
}

fn load_topics(core: &mut Core, store: &Store) -> Result<(), Fault> {
    let Core { topics, ids, cluster, .. } = core;
    each(store, keys::TOPICS, |mut key, record| {
        let (Some(id), Some(formed)) = (key.u64(), &cluster) else { return Ok(None) };
        topics.load(TopicId(id), formed.group, record)?;
        Ok((id < ids.topic.0).then_some(()))
    })?;
    // What is left of a deleted topic is nobody's any more.
    each(store, keys::QUEUES, |mut key, record| {
        let (Some(topic), Some(queue)) = (key.u64(), key.u32()) else { return Ok(None) };
        let Some(topic) = topics.get_mut(TopicId(topic)) else { return Ok(Some(())) };
        let Some(range) = topic.queues.get_mut(queue as usize) else { return Ok(None) };
        *range = Queue::decode(record)?;
        Ok(Some(()))
    })?;
    // A queue ends behind its last block.
    store.last_of_each(keys::INDEX, keys::QUEUE_INDEX_BYTES, |key, record| {
        let misfit = || Fault::damaged(key, "it does not fit the others");
        let mut numbers = KeyReader::new(key);
        let (Some(topic), Some(queue), Some(base)) = (numbers.u64(), numbers.u32(), numbers.u64()) else {
            return Err(misfit());
        };
        let Some(topic) = topics.get_mut(TopicId(topic)) else { return Ok(()) };
        let range = topic.queues.get_mut(queue as usize).ok_or_else(misfit)?;
        let block = IndexBlock::decode(base, record).map_err(|error| Fault::damaged(key, error))?;
        range.next = range.next.max(block.end());
        Ok(())
    })
}

fn load_deleted(core: &mut Core, store: &Store) -> Result<(), Fault> {
    let Core { erasures, buried, ids, .. } = core;
    each(store, keys::ERASED_TOPICS, |mut key, record| {
        let Some(id) = key.u64() else { return Ok(None) };
        erasures.load_topic(TopicId(id), record)?;
        Ok((id < ids.topic.0).then_some(()))
    })?;
    each(store, keys::ERASED_LETTERS, |mut key, record| {
        let (Some(topic), Some(queue)) = (key.u64(), key.u32()) else { return Ok(None) };
        erasures.load_letters(TopicId(topic), QueueId(queue), record).map(Some)
    })?;
    each(store, keys::ERASED_GROUPS, |mut key, record| {
        let Some(id) = key.u64() else { return Ok(None) };
        erasures.load_group(ConsumerGroupId(id), record)?;
        Ok((id < ids.group.0).then_some(()))
    })?;
    each(store, keys::BURIED, |key, record| buried.load(key.rest(), record).map(Some))
}

fn load_groups(core: &mut Core, store: &Store) -> Result<(), Fault> {
    let Core { groups, ids, .. } = core;
    each(store, keys::GROUPS, |mut key, record| {
        let Some(id) = key.u64() else { return Ok(None) };
        groups.load(ConsumerGroupId(id), record)?;
        Ok((id < ids.group.0).then_some(()))
    })
}

fn load_subscriptions(core: &mut Core, store: &Store) -> Result<(), Fault> {
    let Core { topics, groups, erasures, subscriptions, topics_of_groups, timers, leases, needed, .. } = core;
    each(store, keys::SUBSCRIPTIONS, |mut key, _| {
        let (Some(group), Some(topic)) = (key.u64().map(ConsumerGroupId), key.u64().map(TopicId)) else {
            return Ok(None);
        };
        // What is deleted and not erased yet has subscriptions, too.
        let of = topics.get_mut(topic);
        let queues = of.as_ref().map(|of| of.settings.queues).or_else(|| erasures.queues_of(topic));
        let (Some(queues), true) = (queues, groups.get(group).is_some() || erasures.has_group(group)) else {
            return Ok(None);
        };
        if let Some(of) = of {
            of.subscribe(group);
        }
        subscriptions.insert((topic, group), Subscription::new(topic, group, queues));
        topics_of_groups.insert((group, topic));
        Ok(Some(()))
    })?;
    each(store, keys::TAKEN, |mut key, record| {
        let (Some(group), Some(topic), Some(queue)) = (key.u64(), key.u64(), key.u32().map(QueueId)) else {
            return Ok(None);
        };
        let (topic, group) = (TopicId(topic), ConsumerGroupId(group));
        let taken = Reader::new("taken", record).u64()?;
        let Some(subscription) = subscriptions.get_mut(&(topic, group)) else { return Ok(None) };
        // Of a deleted topic the ends are not known any more, and it does not matter.
        let end = match topics.get(topic) {
            Some(topic) => topic.queue(queue).map(|range| range.next),
            None => Some(taken).filter(|_| subscription.taken(queue).is_some()),
        };
        if end.is_none_or(|end| taken > end) {
            return Ok(None);
        }
        subscription.set_taken(queue, taken);
        Ok(Some(()))
    })?;
    each(store, keys::PENDING, |mut key, record| {
        let (Some(group), Some(topic), Some(queue)) = (key.u64(), key.u64(), key.u32().map(QueueId)) else {
            return Ok(None);
        };
        let Some(offset) = key.u64() else { return Ok(None) };
        let key = (TopicId(topic), ConsumerGroupId(group));
        let Some(subscription) = subscriptions.get_mut(&key) else { return Ok(None) };
        if subscription.taken(queue).is_none_or(|taken| offset >= taken) {
            return Ok(None);
        }
        let pending = Pending::decode(record)?;
        subscription.load(timers, needed, queue, offset, pending);
        Ok(Some(()))
    })?;
    each(store, keys::LEASES, |mut key, record| {
        let Some(client) = key.u64() else { return Ok(None) };
        leases.load(ClientKey(client), record).map(Some)
    })?;
    timers.load_ended(leases);
    each(store, keys::TAILS, |mut key, record| {
        let (Some(group), Some(topic), Some(queue)) = (key.u64(), key.u64(), key.u32().map(QueueId)) else {
            return Ok(None);
        };
        let Some(lane) = key.u64().map(MessageGroupKey) else { return Ok(None) };
        let key = (TopicId(topic), ConsumerGroupId(group));
        let Some(subscription) = subscriptions.get_mut(&key) else { return Ok(None) };
        subscription.set_tail((queue, lane), Some(Tail::decode(record)?));
        Ok(Some(()))
    })
}

fn load_producers(core: &mut Core, store: &Store) -> Result<(), Fault> {
    let producers = &mut core.producers;
    each(store, keys::PRODUCERS, |mut key, record| {
        let (Some(topic), Some(id)) = (key.u64(), key.u128()) else { return Ok(None) };
        Ok(producers.load((TopicId(topic), ProducerId(id)), Head::decode(record)?))
    })?;
    each(store, keys::PRODUCER_ROWS, |mut key, record| {
        let (Some(topic), Some(id), Some(base)) = (key.u64(), key.u128(), key.u64()) else { return Ok(None) };
        Ok(producers.load_row((TopicId(topic), ProducerId(id)), Row::decode(base, record)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_applied_point_goes_both_ways() {
        let id = |index| LogId { term: Term(3), index: LogIndex(index) };
        for membership in [None, Some((id(1), Bytes::from_static(b"members")))] {
            let point = AppliedPoint { id: id(9), membership };
            let record = AppliedRecord { point, clock: UnixMillis(5), served_ms: 7, digest: Digest(6), filled: 8 };
            assert_eq!(AppliedRecord::decode(&record.encode()), Ok(record));
        }
    }
}
