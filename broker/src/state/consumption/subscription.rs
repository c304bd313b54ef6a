//! One group in one topic.

use std::collections::{BTreeMap, BTreeSet};

use raft_log::types::{LogIndex, UnixMillis};

use super::lanes::{LaneKey, Lanes};
use super::late::RecordState;
use super::pending::{DeliveryKey, Pending, Phase};
use super::tail::Tail;
use super::timers::Timers;
use super::window::Window;
use crate::model::{AttemptKey, ConsumerGroupId, QueueId, TopicId};
use crate::state::needed::{Need, Needed};
use crate::state::planted::{self, Bug};
use crate::state::topics::Queue;

/// Messages of one queue that a group has taken and not finished. At this bound and at the next ones, nothing fresh is taken until
/// some are acknowledged; what was taken is settled and delivered again as always.
const PENDING_PER_QUEUE_MAX: usize = 65_536;
/// The same of all queues of a topic.
pub(crate) const PENDING_PER_TOPIC_MAX: usize = if cfg!(test) { 6000 } else { 1 << 20 };

/// A group in a topic. Invariant: the lists below hold what the phases of the pending messages say, and change only
/// together with them, in [`Self::set`]. They hold it whether the group keeps the order or not, which its settings say and may
/// change: `fifo` decides which of them are read.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) topic: TopicId,
    pub(crate) group: ConsumerGroupId,
    /// How many queues the topic has.
    count: u32,
    /// Those that were read from, or in which the group does not begin at the first message.
    queues: BTreeMap<QueueId, QueueTaken>,
    /// Messages that are pending, of all queues.
    pending: usize,
    /// Due messages without a message group, the longest due first.
    due: BTreeSet<(UnixMillis, QueueId, u64)>,
    lanes: Lanes,
    /// Due and waiting messages of the lanes, one by one: for whoever keeps no order.
    laned: BTreeSet<(UnixMillis, QueueId, u64)>,
    /// What each attempt of a FIFO group holds.
    attempts: BTreeSet<(AttemptKey, QueueId, u64)>,
}

#[derive(Debug, Default)]
struct QueueTaken {
    taken: u64,
    pending: Window<Held>,
}

/// A pending message, and how its record stands.
#[derive(Clone, Copy, Debug)]
struct Held {
    pending: Pending,
    record: RecordState,
}

impl Subscription {
    pub(crate) fn new(topic: TopicId, group: ConsumerGroupId, count: u32) -> Subscription {
        let (queues, due, laned, attempts) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Subscription { topic, group, count, queues, pending: 0, due, lanes: Lanes::default(), laned, attempts }
    }

    pub(crate) fn key(&self, queue: QueueId, offset: u64) -> DeliveryKey {
        DeliveryKey { topic: self.topic, group: self.group, queue, offset }
    }

    fn queue(&self, queue: QueueId) -> Option<&QueueTaken> {
        self.queues.get(&queue)
    }

    fn queue_mut(&mut self, queue: QueueId) -> &mut QueueTaken {
        assert!(queue.0 < self.count, "a queue of the topic");
        self.queues.entry(queue).or_default()
    }

    /// Behind the last message taken, if it is not before the first that is there; nothing for an unknown queue.
    pub(crate) fn taken(&self, queue: QueueId) -> Option<u64> {
        (queue.0 < self.count).then(|| self.queue(queue).map_or(0, |queue| queue.taken))
    }

    /// Moves on in a queue.
    pub(crate) fn set_taken(&mut self, queue: QueueId, taken: u64) {
        let at = self.queue_mut(queue);
        assert!(at.taken <= taken, "a group moves forward within its queue");
        at.taken = taken;
    }

    /// Messages of a queue that nobody of the group has taken, and that there is room to take.
    pub(crate) fn fresh(&self, queue: QueueId, range: Queue) -> u64 {
        let fresh = self.taken(queue).map_or(0, |taken| range.next - taken.max(range.first).min(range.next));
        if self.is_full(queue) { 0 } else { fresh }
    }

    pub(crate) fn pending(&self, queue: QueueId, offset: u64) -> Option<&Pending> {
        self.queue(queue)?.pending.get(offset).map(|held| &held.pending)
    }

    /// Whether nothing fresh may be taken from a queue.
    pub(crate) fn is_full(&self, queue: QueueId) -> bool {
        self.pending_count(queue) >= PENDING_PER_QUEUE_MAX || self.pending >= PENDING_PER_TOPIC_MAX
    }

    pub(crate) fn pending_count(&self, queue: QueueId) -> usize {
        self.queue(queue).map_or(0, |queue| queue.pending.len())
    }

    /// The first message that is not done with.
    pub(crate) fn consumer_offset(&self, queue: QueueId, range: Queue) -> u64 {
        let pending = self.queue(queue).and_then(|queue| queue.pending.first());
        pending.map_or(self.taken(queue).unwrap_or(0).max(range.first), |(offset, _)| offset)
    }

    /// What is pending of the queues, from a place on.
    pub(crate) fn pending_from(&self, queue: QueueId, offset: u64) -> impl Iterator<Item = (DeliveryKey, &Pending)> {
        self.queues.range(queue..).flat_map(move |(at, taken)| {
            let from = if *at == queue { offset } else { 0 };
            taken.pending.from(from).map(move |(offset, held)| (self.key(*at, offset), &held.pending))
        })
    }

    /// Some pending messages, at most `count`.
    pub(crate) fn some_pending(&self, count: usize) -> Vec<(QueueId, u64)> {
        let pending =
            self.queues.iter().flat_map(|(queue, taken)| taken.pending.from(0).map(|(offset, _)| (*queue, offset)));
        pending.take(count).collect()
    }

    /// Makes a message pending in this way, or done with; answers how its record stood before. The caller notes the record.
    pub(crate) fn set(
        &mut self,
        timers: &mut Timers,
        needed: &mut Needed,
        queue: QueueId,
        offset: u64,
        now: Option<Pending>,
    ) -> RecordState {
        let at = &mut self.queue_mut(queue).pending;
        let held = match now {
            Some(pending) => {
                let stored = at.get(offset).is_some_and(|held| held.record.stored);
                at.insert(offset, Held { pending, record: RecordState { stored, late: true } })
            }
            None => at.remove(offset),
        };
        let before = held.map(|held| held.pending);
        // A body that moves ends no lease and begins none.
        let time = |pending: Pending| (pending.phase, pending.deadline, pending.lease);
        let same_time = before.is_some() && before.map(time) == now.map(time);
        let counted = before.is_none() || now.is_none() || !planted::is(Bug::CountStays);
        let key = self.key(queue, offset);
        self.pending = self.pending + usize::from(now.is_some()) - usize::from(before.is_some());
        if let Some(pending) = before {
            if counted {
                needed.remove(Need::Delivery, pending.message.position.index);
            }
            if !same_time {
                timers.unlist(key, &pending);
            }
            self.unlist(queue, offset, &pending);
        }
        if let Some(pending) = now {
            if counted {
                needed.add(Need::Delivery, pending.message.position.index);
            }
            if !same_time {
                timers.list(key, &pending);
            }
            self.list(queue, offset, &pending);
        }
        held.map(|held| held.record).unwrap_or_default()
    }

    /// Takes in a message from its record.
    pub(crate) fn load(
        &mut self,
        timers: &mut Timers,
        needed: &mut Needed,
        queue: QueueId,
        offset: u64,
        pending: Pending,
    ) {
        self.set(timers, needed, queue, offset, Some(pending));
        let held = self.queue_mut(queue).pending.get_mut(offset).expect("just set");
        held.record = RecordState { stored: true, late: false };
    }

    /// A message whose record is still to be written; it counts as written from now on.
    pub(crate) fn take_late(&mut self, queue: QueueId, offset: u64) -> Option<Pending> {
        let held = self.queues.get_mut(&queue)?.pending.get_mut(offset).filter(|held| held.record.late)?;
        held.record = RecordState { stored: true, late: false };
        Some(held.pending)
    }

    fn list(&mut self, queue: QueueId, offset: u64, pending: &Pending) {
        let deliverable = matches!(pending.phase, Phase::Due | Phase::Waiting);
        if !pending.message.group.is_none() {
            self.lanes.list(queue, offset, pending);
            if deliverable {
                self.laned.insert((pending.deadline, queue, offset));
            }
        } else if deliverable {
            self.due.insert((pending.deadline, queue, offset));
        }
        if pending.phase == Phase::Hidden && !pending.attempt_key.is_none() {
            self.attempts.insert((pending.attempt_key, queue, offset));
        }
    }

    fn unlist(&mut self, queue: QueueId, offset: u64, pending: &Pending) {
        let deliverable = matches!(pending.phase, Phase::Due | Phase::Waiting);
        if !pending.message.group.is_none() {
            self.lanes.unlist(queue, offset, pending);
            if deliverable {
                self.laned.remove(&(pending.deadline, queue, offset));
            }
        } else if deliverable {
            self.due.remove(&(pending.deadline, queue, offset));
        }
        if pending.phase == Phase::Hidden && !pending.attempt_key.is_none() {
            self.attempts.remove(&(pending.attempt_key, queue, offset));
        }
    }

    /// The first messages that are due one by one: for a group that keeps the order, those outside lanes.
    pub(crate) fn due(&self, fifo: bool, count: usize) -> Vec<(QueueId, u64)> {
        let mut due: Vec<_> = self.due.iter().take(count).collect();
        if !fifo && !self.laned.is_empty() {
            due.extend(self.laned.iter().take(count));
            due.sort_unstable();
            due.truncate(count);
        }
        due.into_iter().map(|(_, queue, offset)| (*queue, *offset)).collect()
    }

    /// The first lanes with something to deliver.
    pub(crate) fn open_lanes(&self, count: usize) -> Vec<LaneKey> {
        self.lanes.open().take(count).collect()
    }

    /// The first pending offsets of a lane.
    pub(crate) fn lane(&self, lane: LaneKey, count: usize) -> Vec<u64> {
        self.lanes.offsets(lane, count)
    }

    /// Whether a message group of a queue has anything pending, or in its tail.
    pub(crate) fn has_lane(&self, lane: LaneKey) -> bool {
        self.lanes.contains(lane)
    }

    /// What waits in a lane behind the pending messages.
    pub(crate) fn tail(&self, lane: LaneKey) -> Option<Tail> {
        self.lanes.tail(lane)
    }

    pub(crate) fn set_tail(&mut self, lane: LaneKey, tail: Option<Tail>) {
        self.lanes.set_tail(lane, tail);
    }

    /// Whether a lane has a tail and nothing pending before it, which only lasts until the command is over.
    pub(crate) fn only_tail(&self, lane: LaneKey) -> bool {
        self.lanes.only_tail(lane)
    }

    /// The lanes with a tail, from one on.
    pub(crate) fn tailed(&self, from: LaneKey) -> impl Iterator<Item = (LaneKey, Tail)> + '_ {
        self.lanes.tailed(from)
    }

    /// How many messages of a queue wait in tails.
    pub(crate) fn in_tails_of(&self, queue: QueueId) -> u64 {
        self.lanes.in_tails_of(queue)
    }

    /// What an attempt still holds, in the order of the queues.
    pub(crate) fn held_by_attempt(&self, attempt: AttemptKey) -> Vec<(QueueId, u64)> {
        let held = self.attempts.range((attempt, QueueId(0), 0)..).take_while(|(holder, ..)| *holder == attempt);
        held.map(|(_, queue, offset)| (*queue, *offset)).collect()
    }

    /// How many deliveries are due again: messages, or lanes with at least one.
    pub(crate) fn redeliveries(&self, fifo: bool) -> u64 {
        (self.due.len() + if fifo { self.lanes.open_count() } else { self.laned.len() }) as u64
    }

    /// How many messages are pending and with nobody: due again, or passed over.
    pub(crate) fn waiting(&self) -> usize {
        self.due.len() + self.laned.len()
    }

    /// How many messages are pending, of all queues.
    pub(crate) fn pending_of_all(&self) -> usize {
        self.pending
    }

    /// How many messages wait in tails.
    pub(crate) fn in_all_tails(&self) -> u64 {
        self.lanes.in_tails()
    }

    /// Since when the first of those messages is due that are due again.
    pub(crate) fn due_since(&self) -> Option<UnixMillis> {
        // What was passed over was never delivered, and has no deadline.
        let laned = self.laned.range((UnixMillis(1), QueueId(0), 0)..).next();
        self.due.first().into_iter().chain(laned).map(|(deadline, ..)| *deadline).min()
    }

    /// The first message that waits in a message group without being held up.
    pub(crate) fn first_waiting(&self) -> Option<(QueueId, u64)> {
        let (queue, offset) = self.lanes.first_open()?;
        self.pending(queue, offset).filter(|pending| pending.phase == Phase::Waiting).map(|_| (queue, offset))
    }

    /// The oldest entry that holds a pending message, as far as the first of each queue says.
    pub(crate) fn oldest_needed(&self) -> Option<LogIndex> {
        self.firsts().map(|pending| pending.message.position.index).min()
    }

    /// When one of the first messages of the queues was delivered last, the earliest.
    pub(crate) fn first_delivered(&self) -> Option<UnixMillis> {
        self.firsts().filter(|pending| pending.attempt > 0).map(|pending| pending.delivered_at).min()
    }

    fn firsts(&self) -> impl Iterator<Item = &Pending> {
        self.queues.values().filter_map(|queue| queue.pending.first()).map(|(_, held)| &held.pending)
    }

    /// How many messages wait in tails that a group without order could be given; none at the bound.
    pub(crate) fn in_tails(&self) -> u64 {
        if self.pending < PENDING_PER_TOPIC_MAX { self.lanes.in_tails() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Junk groups on a topic of thousands of queues are cheap.
    #[test]
    fn a_queue_that_was_never_read_costs_nothing() {
        let mut subscription = Subscription::new(TopicId(1), ConsumerGroupId(1), 4096);
        assert_eq!((subscription.taken(QueueId(4095)), subscription.taken(QueueId(4096))), (Some(0), None));
        assert_eq!(subscription.fresh(QueueId(7), Queue { first: 3, next: 5 }), 2);
        assert!(subscription.queues.is_empty());
        subscription.set_taken(QueueId(7), 4);
        let range = Queue { first: 3, next: 5 };
        assert_eq!((subscription.queues.len(), subscription.consumer_offset(QueueId(7), range)), (1, 4));
    }
}
