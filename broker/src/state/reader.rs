//! What the rest of the broker sees of the state.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use raft_log::types::{LogIndex, UnixMillis};

use super::apply::{Core, first_at};
use super::command::{Bootstrap, Holder, ReleaseTo};
#[cfg(test)]
use super::consumption::InTail;
use super::consumption::{DeliveryKey, Subscription};
use super::dead_letter_tally::DeadLetterTally;
use super::digest::StateDigest;
use super::events::Events;
use super::fault::Fault;
use super::groups::Group;
use super::index::BlockReader;
use super::keys::{self, KeyReader};
use super::level::Level;
use super::retained::Retained;
use super::store::Store;
use super::topics::{Queue, Topic};
use super::unread::{Looked, UnreadLook};
use super::views::{
    GroupView, HeldBack, Holders, Located, ProducersView, QueueBounds, QueueProgress, Ready, StateCounters, TopicView,
};
use crate::model::{ClientKey, ConsumerGroupId, Position, QueueId, QueueOffset, TopicId};

/// Why the state could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state could not be read: {reason}")]
pub struct ReadStateError {
    /// What failed.
    pub reason: String,
}

/// What the state machine and its readers share. The working set changes under the write lock only, for as long as one
/// call of `apply` takes; the store's lock is only for its replacement, and events have locks of their own.
#[derive(Debug)]
pub(crate) struct Shared {
    core: RwLock<Core>,
    /// Written only by a restored checkpoint. Who takes both locks takes the core's first.
    store: RwLock<Store>,
    pub(crate) events: Events,
    pub(crate) dead_letters: DeadLetterTally,
    /// Seconds that calls of `apply` took.
    pub(crate) apply_seconds: Histogram,
    /// The number of the feature level, for those who must not wait for the core.
    level: AtomicU32,
}

impl Shared {
    pub(crate) fn new(core: Core, store: Store) -> Shared {
        // 0.1 ms to 0.2 s.
        let apply_seconds = Histogram::new(exponential_buckets(0.000_1, 2.0, 12));
        Shared {
            level: AtomicU32::new(core.level.number()),
            core: RwLock::new(core),
            store: RwLock::new(store),
            events: Events::default(),
            dead_letters: DeadLetterTally::default(),
            apply_seconds,
        }
    }

    pub(crate) fn core(&self) -> RwLockReadGuard<'_, Core> {
        self.core.read().expect("apply does not panic, or the process is about to end")
    }

    /// Tells everybody the core's level.
    pub(crate) fn publish_level(&self, core: &Core) {
        self.level.store(core.level.number(), Ordering::Release);
    }

    pub(crate) fn store(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().expect("apply does not panic, or the process is about to end")
    }

    pub(crate) fn store_mut(&self) -> RwLockWriteGuard<'_, Store> {
        self.store.write().expect("apply does not panic, or the process is about to end")
    }

    pub(crate) fn core_mut(&self) -> RwLockWriteGuard<'_, Core> {
        self.core.write().expect("apply does not panic, or the process is about to end")
    }
}

/// Deliveries that [`StateReader::holders`] looks at, and those of them under one lock.
const LOOKED_AT_MAX: usize = if cfg!(test) { 100 } else { 131_072 };
const HOLDERS_SLICE: usize = if cfg!(test) { 5 } else { 4096 };
/// How many times as many dead letters it looks at as it may find: those of deleted topics it passes over.
const LETTER_SLICES_MAX: usize = if cfg!(test) { 4 } else { 16 };

/// A view of the state at its applied index. Clones share it; each call sees one applied index.
#[derive(Clone, Debug)]
pub struct StateReader {
    pub(super) shared: Arc<Shared>,
}

impl StateReader {
    pub(crate) fn new(shared: Arc<Shared>) -> StateReader {
        StateReader { shared }
    }

    /// The applied entry and the rolling digest there; nothing while the state is empty.
    #[must_use]
    pub fn digest(&self) -> Option<StateDigest> {
        self.shared.core().history.latest()
    }

    /// The digest at an applied index, if it is one of the last few thousand since the process started.
    #[must_use]
    pub fn digest_at(&self, index: LogIndex) -> Option<StateDigest> {
        self.shared.core().history.at(index)
    }

    /// The state's clock: the greatest stamp applied. A new leader stamps at least this (hazards 19).
    #[must_use]
    pub fn clock(&self) -> UnixMillis {
        self.shared.core().clock
    }

    /// Identity and handle key, once bootstrapped.
    #[must_use]
    pub fn cluster(&self) -> Option<Bootstrap> {
        self.shared.core().cluster.clone()
    }

    /// The feature level of the group, as far as this node has applied. Waits for nobody.
    #[must_use]
    pub fn level(&self) -> Level {
        Level::known(self.shared.level.load(Ordering::Acquire)).expect("of a core, which knows its level")
    }

    /// Seconds that calls of `apply` took, each of some entries, during which nobody reads the state.
    #[must_use]
    pub fn apply_seconds(&self) -> Histogram {
        self.shared.apply_seconds.clone()
    }

    /// A topic by name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<TopicView> {
        self.shared.core().topics.named(name).map(topic_view)
    }

    /// A topic by number.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<TopicView> {
        self.shared.core().topics.get(id).map(topic_view)
    }

    /// All topics, by name.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicView> {
        self.shared.core().topics.by_name().map(topic_view).collect()
    }

    /// A consumer group by name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<GroupView> {
        self.shared.core().groups.named(name).map(group_view)
    }

    /// A consumer group by number.
    #[must_use]
    pub fn group_by_id(&self, id: ConsumerGroupId) -> Option<GroupView> {
        self.shared.core().groups.get(id).map(group_view)
    }

    /// All consumer groups, by name.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupView> {
        self.shared.core().groups.by_name().map(group_view).collect()
    }

    /// The ranges of a topic's queues, by queue; nothing for an unknown topic.
    #[must_use]
    pub fn queue_bounds(&self, topic: TopicId) -> Option<Vec<QueueBounds>> {
        let core = self.shared.core();
        let queues = (0..).map(QueueId).zip(&core.topics.get(topic)?.queues);
        let bounds = queues.map(|(queue, range)| QueueBounds {
            queue,
            first: QueueOffset(range.first),
            next: QueueOffset(range.next),
        });
        Some(bounds.collect())
    }

    /// The offset of the first message stored at or after `time`; the queue's end if there is none; nothing for an
    /// unknown topic or queue.
    ///
    /// # Errors
    /// The store does not read.
    pub fn offset_at(
        &self,
        topic: TopicId,
        queue: QueueId,
        time: UnixMillis,
    ) -> Result<Option<QueueOffset>, ReadStateError> {
        let core = self.shared.core();
        let Some(range) = core.topics.get(topic).and_then(|topic| topic.queue(queue)) else { return Ok(None) };
        let offset = first_at(&core.recent, &self.shared.store(), (topic, queue), *range, time)?;
        Ok(Some(QueueOffset(offset)))
    }

    /// Where the messages from `from` on lie, at most `count` of them; empty at the queue's end or for an unknown one.
    ///
    /// # Errors
    /// The store does not read.
    pub fn locate(
        &self,
        topic: TopicId,
        queue: QueueId,
        from: QueueOffset,
        count: usize,
    ) -> Result<Vec<Located>, ReadStateError> {
        let core = self.shared.core();
        let Some(range) = core.topics.get(topic).and_then(|topic| topic.queue(queue)) else { return Ok(Vec::new()) };
        let store = self.shared.store();
        let mut blocks = BlockReader::new(&core.recent, &store);
        let mut located = Vec::new();
        for offset in (from.0.max(range.first)..range.next).take(count) {
            let block = blocks.block((topic, queue), offset)?;
            let message = block.message(offset).expect("the block of this message");
            let position = block.position(message);
            located.push(Located { offset: QueueOffset(offset), position, group: message.group });
        }
        Ok(located)
    }

    /// What the group could receive of the topic.
    #[must_use]
    pub fn ready(&self, group: ConsumerGroupId, topic: TopicId) -> Ready {
        let core = self.shared.core();
        let subscription = core.subscriptions.get(&(topic, group)).filter(|_| core.groups.get(group).is_some());
        // A receive from what is deleted must not wait either: its command says so.
        let (Some(subscription), Some(of)) = (subscription, core.topics.get(topic)) else {
            return Ready { unsubscribed: true, ..Ready::default() };
        };
        let of_queue = |(queue, range): (QueueId, &Queue)| subscription.fresh(queue, *range);
        let fresh = if core.timers.is_full() { 0 } else { (0..).map(QueueId).zip(&of.queues).map(of_queue).sum() };
        let fifo = core.groups.get(group).is_some_and(|group| group.settings.fifo);
        let in_tails = if fifo || core.timers.is_full() { 0 } else { subscription.in_tails() };
        Ready { unsubscribed: false, fresh, redeliveries: subscription.redeliveries(fifo) + in_tails }
    }

    /// How far the group has come in each queue of the topic; nothing if it never received from it.
    #[must_use]
    pub fn progress(&self, group: ConsumerGroupId, topic: TopicId) -> Option<Vec<QueueProgress>> {
        let core = self.shared.core();
        let subscription = core.subscriptions.get(&(topic, group))?;
        let queues = (0..).map(QueueId).zip(&core.topics.get(topic)?.queues);
        Some(queues.map(|(queue, range)| queue_progress(subscription, queue, *range)).collect())
    }

    /// The topics that the group has received from.
    #[must_use]
    pub fn subscriptions(&self, group: ConsumerGroupId) -> Vec<TopicId> {
        let core = self.shared.core();
        core.subscriptions.keys().filter(|(_, of)| *of == group).map(|(topic, _)| *topic).collect()
    }

    /// Where retention wants the readable start, if something that is needed holds it: propose a `Relocate` of that.
    #[must_use]
    pub(crate) fn held_back(&self) -> Option<HeldBack> {
        let core = self.shared.core();
        let Retained { start, asked: to, .. } = core.retained;
        let before = core.needed.bound(to);
        (start < to.min(before)).then(|| HeldBack { to, before, counts: core.needed.before(before) })
    }

    /// The first entry that must stay readable.
    #[must_use]
    pub fn readable_start(&self) -> LogIndex {
        self.shared.core().retained.start
    }

    /// About how many bytes of the log would go now if nothing of it were needed.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        let core = self.shared.core();
        core.needed.held_bytes(core.retained.asked)
    }

    /// Who needs bodies in entries before one, and where those lie; at most `count` of them, of the oldest stretches of the log. Looks
    /// at so many deliveries and no more, from `from` on, and no further than all that are there are found.
    ///
    /// The oldest first: what was moved a moment ago may lie before that entry again when retention has gone on, and where there is
    /// much of it, what holds the start would never have its turn.
    ///
    /// # Errors
    /// The store does not read.
    pub(crate) fn holders(&self, before: LogIndex, count: usize, from: DeliveryKey) -> Result<Holders, ReadStateError> {
        let (before, counts) = self.shared.core().needed.oldest_until(before, count);
        let at_most = |wanted: u64, room: usize| usize::try_from(wanted).unwrap_or(usize::MAX).min(room);
        let letters = self.dead_letters(before, at_most(counts.dead_letters, count))?;
        let wanted = at_most(counts.deliveries, count - letters.len());
        let next = if wanted == 0 { DeliveryKey::FIRST } else { from };
        let mut holders = Holders { found: letters, next, looked_at: 0 };
        let enough = holders.found.len() + wanted;
        while holders.found.len() < enough && holders.looked_at < LOOKED_AT_MAX {
            let core = self.shared.core();
            let at = holders.next;
            let subscription = core.subscriptions.range((at.topic, at.group)..).next();
            let Some((&(topic, group), subscription)) = subscription else {
                holders.next = DeliveryKey::FIRST;
                break;
            };
            let (queue, offset) =
                if (topic, group) == (at.topic, at.group) { (at.queue, at.offset) } else { (QueueId(0), 0) };
            holders.looked_at += 1;
            let mut left = subscription.pending_from(queue, offset);
            for (key, pending) in left.by_ref().take(HOLDERS_SLICE) {
                holders.looked_at += 1;
                if pending.message.position.index < before {
                    holders.found.push((pending.message.position, Holder::Delivery(key)));
                    if holders.found.len() == enough {
                        break;
                    }
                }
            }
            let behind = DeliveryKey { topic, group: ConsumerGroupId(group.0 + 1), ..DeliveryKey::FIRST };
            holders.next = left.next().map_or(behind, |(key, _)| key);
        }
        Ok(holders)
    }

    /// Dead letters before an entry. Those of deleted topics hold it until they are erased, and nobody moves them.
    fn dead_letters(&self, before: LogIndex, count: usize) -> Result<Vec<(Position, Holder)>, ReadStateError> {
        let mut letters = Vec::new();
        let mut from = Some(keys::dead_letter(self.shared.core().retained.start, TopicId(0), 0));
        let mut slices = 0..LETTER_SLICES_MAX;
        while let Some(key) = from.take_if(|_| letters.len() < count && slices.next().is_some()) {
            let mut slice = Vec::new();
            self.shared.store().scan_from(keys::DEAD_LETTERS, key.as_ref(), |key, _| {
                let mut numbers = KeyReader::new(key);
                let (Some(index), Some(topic), Some(offset)) = (numbers.u64(), numbers.u64(), numbers.u64()) else {
                    return Err(Fault::damaged(key, "the key of a dead letter"));
                };
                if index >= before.0 {
                    return Ok(ControlFlow::Break(()));
                }
                if slice.len() == count {
                    from = Some(keys::dead_letter(LogIndex(index), TopicId(topic), offset));
                    return Ok(ControlFlow::Break(()));
                }
                slice.push((TopicId(topic), offset));
                Ok(ControlFlow::Continue(()))
            })?;
            for (topic, offset) in slice {
                let at = self.locate(topic, QueueId(0), QueueOffset(offset), 1)?;
                // One that was moved just now may still be found where it was.
                if let Some(at) = at.first().filter(|at| at.position.index < before && letters.len() < count) {
                    letters.push((at.position, Holder::DeadLetter { topic, offset }));
                }
            }
        }
        Ok(letters)
    }

    /// Begins to look how far the start may move towards `to` without passing over what somebody has yet to read.
    pub(crate) fn look_for_unread(&self, to: LogIndex) -> Option<UnreadLook> {
        UnreadLook::begin(&self.shared.core(), to)
    }

    /// Looks on, at a bounded number of queues or tails.
    ///
    /// # Errors
    /// The store does not read.
    pub(crate) fn look_on(&self, look: UnreadLook) -> Result<Looked, ReadStateError> {
        let core = self.shared.core();
        Ok(look.slice(&core, &self.shared.store())?)
    }

    /// How far the start may move towards `to`, if at all, as the whole state says: takes long where there is much.
    ///
    /// # Errors
    /// The store does not read.
    pub(crate) fn release(&self, to: LogIndex) -> Result<Option<ReleaseTo>, ReadStateError> {
        let Some(mut look) = self.look_for_unread(to) else { return Ok(None) };
        loop {
            look = match self.look_on(look)? {
                Looked::Further(look) => look,
                Looked::Done(release) => return Ok(Some(release)),
                Looked::Nothing => return Ok(None),
            }
        }
    }

    /// Whether queues begin below the readable start: propose a sweep.
    #[must_use]
    pub(crate) fn sweep_due(&self) -> bool {
        let retained = self.shared.core().retained;
        retained.swept < retained.start
    }

    /// Messages that consumer groups have taken and not finished.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.shared.core().timers.pending()
    }

    /// When a deadline passes next: propose a tick then. In the past if work is left over.
    #[must_use]
    pub fn next_due(&self) -> Option<UnixMillis> {
        let core = self.shared.core();
        core.timers.next_due(core.clock).into_iter().chain(core.leases.next_end()).min()
    }

    /// Clients whose leases end before `before`, at most `count` of them: propose a `RenewLeases` for those that live.
    #[must_use]
    pub fn leases_ending(&self, before: UnixMillis, count: usize) -> Vec<ClientKey> {
        self.shared.core().leases.ending(before, count)
    }

    /// How many idempotent producers are known, and what is kept of them.
    #[must_use]
    pub fn producers(&self) -> ProducersView {
        self.shared.core().producers.view()
    }

    /// Signals the topics of a group as if something had become available there.
    pub fn look_again(&self, group: ConsumerGroupId) {
        self.shared.events.signal(&mut self.subscriptions(group).into_iter().collect());
    }

    /// Where to wait for messages that become available.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.shared.events
    }

    /// Where to wait for messages that went to the dead letters.
    #[must_use]
    pub fn dead_letter_tally(&self) -> &DeadLetterTally {
        &self.shared.dead_letters
    }

    /// The oldest position that a delivery needs, by a look at all of them and no count.
    #[cfg(test)]
    pub(crate) fn oldest_needed(&self) -> Option<(Position, DeliveryKey)> {
        let core = self.shared.core();
        let all = core.subscriptions.values().flat_map(|of| of.pending_from(QueueId(0), 0));
        all.map(|(key, pending)| (pending.message.position, key)).min()
    }

    /// Whether the group has taken a message and not finished it: what cannot be seen from outside, for the model test.
    #[cfg(test)]
    pub(crate) fn is_pending(&self, group: ConsumerGroupId, topic: TopicId, queue: QueueId, offset: u64) -> bool {
        let core = self.shared.core();
        core.subscriptions.get(&(topic, group)).is_some_and(|of| of.pending(queue, offset).is_some())
    }

    /// Whether the group is done with a message: what cannot be seen from outside, for the model test.
    #[cfg(test)]
    pub(crate) fn is_done(&self, group: ConsumerGroupId, topic: TopicId, queue: QueueId, offset: u64) -> bool {
        let core = self.shared.core();
        let Some(of) = core.subscriptions.get(&(topic, group)) else { return false };
        let taken = of.taken(queue).is_some_and(|taken| offset < taken);
        taken && of.pending(queue, offset).is_none() && !self.in_tail(group, topic, queue, offset)
    }

    /// Whether a message waits in a tail.
    #[cfg(test)]
    pub(crate) fn in_tail(&self, group: ConsumerGroupId, topic: TopicId, queue: QueueId, offset: u64) -> bool {
        let [_, prefix] = keys::tails_of(group, topic);
        let (mut found, store) = (false, self.shared.store());
        let scanned = store.scan::<Fault>(prefix.as_ref(), |key, record| {
            let mut numbers = KeyReader::new(key);
            let (_, _, of) = (numbers.u64(), numbers.u64(), numbers.u32());
            found |= of == Some(queue.0) && InTail::decode(record)?.offset == offset;
            Ok(ControlFlow::Continue(()))
        });
        scanned.expect("the store reads");
        found
    }

    /// Everything that is stored, key by key, for who compares replicas.
    #[cfg(test)]
    pub(crate) fn stored(&self) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
        let mut all = std::collections::BTreeMap::new();
        let scanned = self.shared.store().scan::<Fault>(b"", |key, record| {
            all.insert(key.to_vec(), record.to_vec());
            Ok(ControlFlow::Continue(()))
        });
        scanned.expect("the store reads");
        all
    }

    /// Whether something is deleted and not erased yet: propose an `Erase` then.
    #[must_use]
    pub fn erasing(&self) -> bool {
        self.shared.core().erasures.len() > 0
    }

    /// Whether there are groups that go when nobody uses them: propose a `KeepGroups` regularly then.
    #[must_use]
    pub fn has_automatic_groups(&self) -> bool {
        !self.shared.core().groups.idle().is_empty()
    }

    /// Counters for metrics.
    #[must_use]
    pub fn counters(&self) -> StateCounters {
        self.shared.core().counters
    }
}

/// How far a group has come in a queue of its topic.
pub(super) fn queue_progress(subscription: &Subscription, queue: QueueId, range: Queue) -> QueueProgress {
    QueueProgress {
        queue,
        offset: QueueOffset(subscription.consumer_offset(queue, range)),
        taken: QueueOffset(subscription.taken(queue).unwrap_or(0).max(range.first)),
        end: QueueOffset(range.next),
        pending: subscription.pending_count(queue) as u64 + subscription.in_tails_of(queue),
    }
}

fn topic_view(topic: &Topic) -> TopicView {
    TopicView { id: topic.id, name: topic.name.clone(), settings: topic.settings, placement: topic.placement }
}

fn group_view(group: &Group) -> GroupView {
    GroupView { id: group.id, name: group.name.clone(), settings: group.settings, automatic: group.automatic.is_some() }
}

impl From<Fault> for ReadStateError {
    fn from(fault: Fault) -> ReadStateError {
        ReadStateError { reason: fault.to_string() }
    }
}
