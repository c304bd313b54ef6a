//! How much each consumer group has yet to do, and for how long: looked for beside `apply`, in slices, for metrics.
//!
//! Counts come from the working set, which knows them. How old a message is stands in the index; of what the last look found,
//! [`Times`] remembers the time, so a group that does not move costs no read, and what moves costs a bounded number of them.

use std::collections::HashMap;

use raft_log::types::{LogIndex, UnixMillis};

use super::apply::Core;
use super::consumption::{Phase, Subscription};
use super::fault::Fault;
use super::index::read_known_block;
use super::reader::{ReadStateError, StateReader, queue_progress};
use super::store::Store;
use super::topics::{Queue, Topic};
use super::views::QueueProgress;
use crate::model::{ConsumerGroupId, GroupName, QueueId, QueueOffset, TopicId, TopicName};

/// Queues and groups that are looked at under one lock, about.
const SLICE: usize = if cfg!(test) { 4 } else { 4096 };
/// Records of the index that are read under one lock.
const READS_PER_SLICE: usize = if cfg!(test) { 2 } else { 64 };
/// Times that are remembered from one look to the next; 40 bytes each.
const TIMES_MAX: usize = 65_536;

/// One group in one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The topic.
    pub topic: TopicName,
    /// The group.
    pub group: GroupName,
    /// Messages that nobody of the group holds: never taken, due again, or waiting behind one of their message group.
    pub ready: u64,
    /// Messages that the group has taken and not finished, and that are not due again.
    pub in_flight: u64,
    /// When the oldest message was stored that the group has not finished; nothing if it has finished all.
    pub oldest: Option<UnixMillis>,
    /// Since when one waits that a consumer could get, stored or due again: the first of each queue that nobody has taken, the
    /// first due again, and the first of the message groups that wait. Nothing if there is none.
    pub waiting_since: Option<UnixMillis>,
    /// False if the two times above are of a part of the queues only, or unknown: there were too many to read.
    pub timed: bool,
    /// The oldest log entry whose body the group needs for what it has taken: of the first message of each queue.
    pub needs: Option<LogIndex>,
}

impl Backlog {
    /// Messages that the group has yet to finish.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.ready + self.in_flight
    }
}

type Place = (TopicId, QueueId, u64);

/// The times of the oldest messages, from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Times {
    before: HashMap<Place, UnixMillis>,
    now: HashMap<Place, UnixMillis>,
    /// Reads of the index that this look may still do, and of them under the lock that is held.
    left: usize,
    left_in_slice: usize,
    /// Where the reads of the last look ended: the next one begins to read there, so that each group has its turn.
    resume: Option<Key>,
    exhausted: Option<Key>,
}

/// A group in a topic.
pub(crate) type Key = (TopicId, ConsumerGroupId);

/// A time that was asked for.
enum Time {
    Known(UnixMillis),
    /// Not under this lock.
    NotNow,
    /// Not in this look.
    NotRead,
}

impl Times {
    /// Begins a look that reads the index so many times at most.
    pub(crate) fn begin(&mut self, reads_max: usize) {
        self.before = std::mem::take(&mut self.now);
        (self.left, self.resume) = (reads_max, self.exhausted.take());
    }

    fn of(&mut self, core: &Core, store: &Store, of: Place, reading: bool) -> Result<Time, Fault> {
        if let Some(time) = self.now.get(&of).or_else(|| self.before.get(&of)).copied() {
            self.remember(of, time);
            return Ok(Time::Known(time));
        }
        if self.left == 0 || !reading {
            return Ok(Time::NotRead);
        }
        if self.left_in_slice == 0 {
            return Ok(Time::NotNow);
        }
        (self.left, self.left_in_slice) = (self.left - 1, self.left_in_slice - 1);
        let time = read_known_block(&core.recent, store, (of.0, of.1), of.2)?.stamp;
        self.remember(of, time);
        Ok(Time::Known(time))
    }

    fn remember(&mut self, of: Place, time: UnixMillis) {
        if self.now.len() < TIMES_MAX {
            self.now.insert(of, time);
        }
    }
}

/// The parts of one group in one topic.
struct Of<'a> {
    core: &'a Core,
    store: &'a Store,
    topic: &'a Topic,
    subscription: &'a Subscription,
}

impl Of<'_> {
    fn queues(&self) -> impl Iterator<Item = (QueueId, Queue)> + '_ {
        (0..).map(QueueId).zip(self.topic.queues.iter().copied())
    }

    /// The backlog, but for its times.
    fn counts(&self, group: &GroupName) -> Backlog {
        let of = self.subscription;
        let fresh = |(queue, range)| range_behind(of, queue, range).map_or(0, |from| range.next - from);
        let fresh: u64 = self.queues().map(fresh).sum();
        let due = of.waiting() as u64;
        Backlog {
            topic: self.topic.name.clone(),
            group: group.clone(),
            ready: fresh + due + of.in_all_tails(),
            in_flight: of.pending_of_all() as u64 - due,
            oldest: None,
            waiting_since: None,
            timed: true,
            needs: of.oldest_needed(),
        }
    }

    /// Adds the times; false if they have to wait for the next slice.
    fn add_times(&self, backlog: &mut Backlog, times: &mut Times, reading: bool) -> Result<bool, Fault> {
        let of = self.subscription;
        backlog.waiting_since = of.due_since();
        for (queue, range) in self.queues() {
            let fresh = range_behind(of, queue, range);
            let unfinished = of.consumer_offset(queue, range).max(range.first);
            let nothing = fresh.is_none() && unfinished >= of.taken(queue).unwrap_or(0);
            if nothing {
                continue;
            }
            for (offset, waits) in [(unfinished, false), (fresh.unwrap_or(range.next), true)] {
                if offset < range.next && !self.add_time(backlog, times, (queue, offset), waits, reading)? {
                    return Ok(false);
                }
            }
        }
        let first = of.first_waiting().filter(|(queue, offset)| {
            self.topic.queue(*queue).is_some_and(|range| (range.first..range.next).contains(offset))
        });
        if let Some(at) = first
            && !self.add_time(backlog, times, at, true, reading)?
        {
            return Ok(false);
        }
        if backlog.oldest.is_none() && backlog.timed {
            // All that is left of it went from its queue: it is at least as old as its delivery.
            backlog.oldest = of.first_delivered();
        }
        Ok(true)
    }

    /// Adds the time of one message; false if it has to wait for the next slice.
    fn add_time(
        &self,
        backlog: &mut Backlog,
        times: &mut Times,
        (queue, offset): (QueueId, u64),
        waits: bool,
        reading: bool,
    ) -> Result<bool, Fault> {
        match times.of(self.core, self.store, (self.topic.id, queue, offset), reading)? {
            Time::Known(time) => {
                backlog.oldest = earlier(backlog.oldest, time);
                if waits {
                    backlog.waiting_since = earlier(backlog.waiting_since, time);
                }
            }
            Time::NotNow => return Ok(false),
            Time::NotRead => backlog.timed = false,
        }
        Ok(true)
    }
}

/// One queue of a topic as a group has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBacklog {
    /// How far the group has come.
    pub progress: QueueProgress,
    /// The first retained message.
    pub first: QueueOffset,
    /// Messages before `taken` that are due again.
    pub redeliveries: u64,
    /// Messages that the group has taken and not finished, and that are not due again.
    pub in_flight: u64,
    /// When the first message was stored that the group has not finished, of those that the queue still has.
    pub oldest: Option<UnixMillis>,
}

impl QueueBacklog {
    /// Messages that nobody of the group holds.
    #[must_use]
    pub fn ready(&self) -> u64 {
        self.progress.lag() - self.in_flight
    }
}

/// Where what nobody of the group has taken begins, if there is any.
fn range_behind(of: &Subscription, queue: QueueId, range: Queue) -> Option<u64> {
    let from = of.taken(queue)?.max(range.first);
    (from < range.next).then_some(from)
}

fn earlier(one: Option<UnixMillis>, other: UnixMillis) -> Option<UnixMillis> {
    Some(one.map_or(other, |one| one.min(other)))
}

/// What a slice of a look found, and where it goes on.
pub(crate) struct BacklogSlice {
    pub(crate) found: Vec<Backlog>,
    pub(crate) next: Option<Key>,
}

impl StateReader {
    /// The backlogs of the groups from a place on, a slice of them.
    ///
    /// # Errors
    /// The store does not read.
    pub(crate) fn backlogs(&self, from: Option<Key>, times: &mut Times) -> Result<BacklogSlice, ReadStateError> {
        let core = self.shared.core();
        let store = self.shared.store();
        times.left_in_slice = READS_PER_SLICE;
        let (mut found, mut looks) = (Vec::new(), SLICE);
        for (key, subscription) in core.subscriptions.range(from.unwrap_or((TopicId(0), ConsumerGroupId(0)))..) {
            let (Some(topic), Some(group)) = (core.topics.get(key.0), core.groups.get(key.1)) else { continue };
            if looks == 0 {
                return Ok(BacklogSlice { found, next: Some(*key) });
            }
            looks = looks.saturating_sub(1 + topic.queues.len());
            let of = Of { core: &core, store: &store, topic, subscription };
            let mut backlog = of.counts(&group.name);
            let reading = times.resume.is_none_or(|resume| *key >= resume);
            if backlog.lag() > 0 && !of.add_times(&mut backlog, times, reading)? {
                return Ok(BacklogSlice { found, next: Some(*key) });
            }
            if !backlog.timed && reading && times.exhausted.is_none() {
                times.exhausted = Some(*key);
            }
            found.push(backlog);
        }
        Ok(BacklogSlice { found, next: None })
    }

    /// The backlog of a group in one queue; nothing if the group has not received from the topic, or there is no such queue.
    ///
    /// # Errors
    /// The store does not read.
    pub fn queue_backlog(
        &self,
        (topic, queue): (TopicId, QueueId),
        group: ConsumerGroupId,
    ) -> Result<Option<QueueBacklog>, ReadStateError> {
        let (mut redeliveries, mut in_flight, mut from) = (0, 0, 0);
        loop {
            let core = self.shared.core();
            let range = core.topics.get(topic).and_then(|topic| topic.queue(queue)).copied();
            let (Some(of), Some(range)) = (core.subscriptions.get(&(topic, group)), range) else { return Ok(None) };
            let mut pending = of.pending_from(queue, from).take_while(|(key, _)| key.queue == queue);
            for (_, pending) in pending.by_ref().take(SLICE) {
                redeliveries += u64::from(pending.phase == Phase::Due);
                in_flight += u64::from(pending.blocks());
            }
            if let Some((key, _)) = pending.next() {
                from = key.offset;
                continue;
            }
            let progress = queue_progress(of, queue, range);
            let oldest = progress.offset.0.max(range.first);
            let times = |offset| read_known_block(&core.recent, &self.shared.store(), (topic, queue), offset);
            let oldest = (oldest < range.next).then(|| times(oldest)).transpose()?;
            // What was settled since it was counted.
            in_flight = in_flight.min(progress.lag());
            redeliveries = redeliveries.min(progress.lag() - in_flight);
            let (first, oldest) = (QueueOffset(range.first), oldest.map(|block| block.stamp));
            return Ok(Some(QueueBacklog { progress, first, redeliveries, in_flight, oldest }));
        }
    }

    /// The backlogs of all groups in all topics, in an order that stays. Takes the lock for a slice at a time.
    ///
    /// # Errors
    /// The store does not read.
    pub(crate) fn all_backlogs(&self, times: &mut Times, reads_max: usize) -> Result<Vec<Backlog>, ReadStateError> {
        times.begin(reads_max);
        let (mut all, mut from) = (Vec::new(), None);
        loop {
            let BacklogSlice { mut found, next } = self.backlogs(from, times)?;
            all.append(&mut found);
            match next {
                Some(next) => from = Some(next),
                None => return Ok(all),
            }
        }
    }
}
