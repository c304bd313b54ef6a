//! Messages that wait for their message group enter its lane's tail and leave it, see [`Tail`].

use std::collections::BTreeMap;

use raft_log::types::LogIndex;

use crate::model::{ConsumerGroupId, MessageGroupKey, QueueId, TopicId};
use crate::state::changes::Changes;
use crate::state::consumption::{InTail, LaneKey, Subscription, Tail, TakenMessage};
use crate::state::fault::Fault;
use crate::state::keys;
use crate::state::store::Store;

/// A message in a tail: its lane and its number there.
type Place = (ConsumerGroupId, TopicId, QueueId, MessageGroupKey, u64);

/// What entered tails in this call of `apply`, and is not in the store yet.
pub(crate) type UnwrittenTails = BTreeMap<Place, InTail>;

/// Reads tails.
#[derive(Clone, Copy)]
pub(crate) struct TailReader<'a> {
    pub(crate) store: &'a Store,
    pub(crate) unwritten: &'a UnwrittenTails,
    /// What lies in older entries is not there any more.
    pub(crate) start: LogIndex,
}

impl TailReader<'_> {
    /// The oldest entry with a message of a tail that is still there; nothing if none is.
    pub(crate) fn oldest(&self, of: &Subscription, lane: LaneKey, tail: Tail) -> Result<Option<LogIndex>, Fault> {
        if tail.oldest >= self.start {
            return Ok(Some(tail.oldest));
        }
        let first = self.first_readable(of, lane, tail)?;
        if first == tail.next { Ok(None) } else { Ok(Some(self.read(place(of, lane, first))?.message.position.index)) }
    }

    /// The number of the first message behind the readable start, as entries ascend along a tail: its end if there is none.
    fn first_readable(&self, of: &Subscription, lane: LaneKey, tail: Tail) -> Result<u64, Fault> {
        let (mut low, mut high) = (tail.first, tail.next);
        while low < high {
            let at = low + (high - low) / 2;
            if self.read(place(of, lane, at))?.message.position.index < self.start {
                low = at + 1;
            } else {
                high = at;
            }
        }
        Ok(low)
    }

    fn read(&self, place: Place) -> Result<InTail, Fault> {
        if let Some(unwritten) = self.unwritten.get(&place) {
            return Ok(*unwritten);
        }
        let key = key(place);
        let damaged = || Fault::damaged(key.as_ref(), "a message that waits for its message group is not there");
        let record = self.store.get(key.as_ref())?.ok_or_else(damaged)?;
        InTail::decode(&record).map_err(|error| Fault::damaged(key.as_ref(), error))
    }
}

/// The tails of a subscription at work.
pub(super) struct Tails<'a> {
    pub(super) store: &'a Store,
    pub(super) changes: &'a mut Changes,
    pub(super) unwritten: &'a mut UnwrittenTails,
    /// What lies in older entries is not there any more.
    pub(super) start: LogIndex,
    /// Messages that retention had taken from tails.
    pub(super) expired: u64,
}

impl Tails<'_> {
    /// Lets a fresh message wait at the end of its lane.
    pub(super) fn push(&mut self, of: &mut Subscription, queue: QueueId, offset: u64, message: TakenMessage) {
        let lane = (queue, message.group);
        let before = of.tail(lane);
        let mut tail = before.unwrap_or(Tail { first: 0, next: 0, oldest: message.position.index });
        let place = place(of, lane, tail.next);
        tail.next += 1;
        let in_tail = InTail { offset, message };
        self.changes.put(key(place), &in_tail.encode());
        self.unwritten.insert(place, in_tail);
        self.set(of, lane, Some(tail));
    }

    /// Takes the first message out of a lane's tail that is still there.
    pub(super) fn pop(&mut self, of: &mut Subscription, lane: LaneKey) -> Result<Option<InTail>, Fault> {
        let Some(mut tail) = of.tail(lane) else { return Ok(None) };
        let mut found = self.reader().read(place(of, lane, tail.first))?;
        if found.message.position.index < self.start {
            let first = self.reader().first_readable(of, lane, tail)?;
            self.expired += first - tail.first;
            self.forget(of, lane, tail.first, first);
            if first == tail.next {
                self.set(of, lane, None);
                return Ok(None);
            }
            tail.first = first;
            found = self.reader().read(place(of, lane, first))?;
        }
        let taken = place(of, lane, tail.first);
        self.changes.delete(key(taken));
        self.unwritten.remove(&taken);
        let left = Tail { first: tail.first + 1, oldest: found.message.position.index, ..tail };
        self.set(of, lane, (left.first < left.next).then_some(left));
        Ok(Some(found))
    }

    /// The first of the tail, if nothing is pending of its lane any more: it is to become so. Without a consumer, what retention wants
    /// to be gone must not begin to hold the log, so `start` is where retention wants it.
    pub(super) fn advance(&mut self, of: &mut Subscription, lane: LaneKey) -> Result<Option<InTail>, Fault> {
        if of.only_tail(lane) { self.pop(of, lane) } else { Ok(None) }
    }

    fn reader(&self) -> TailReader<'_> {
        TailReader { store: self.store, unwritten: self.unwritten, start: self.start }
    }

    /// Takes messages out of a tail.
    fn forget(&mut self, of: &Subscription, lane: LaneKey, from: u64, until: u64) {
        let (first, end) = (place(of, lane, from), place(of, lane, until));
        self.changes.delete_keys(key(first), key(end), (from..until).map(|number| key(place(of, lane, number))));
        let gone: Vec<Place> = self.unwritten.range(first..end).map(|(place, _)| *place).collect();
        for place in gone {
            self.unwritten.remove(&place);
        }
    }

    fn set(&mut self, of: &mut Subscription, lane: LaneKey, tail: Option<Tail>) {
        let record = keys::tail(of.group, of.topic, lane.0, lane.1);
        match tail {
            Some(tail) => self.changes.put(record, &tail.encode()),
            None => self.changes.delete(record),
        }
        of.set_tail(lane, tail);
    }
}

fn place(of: &Subscription, lane: LaneKey, number: u64) -> Place {
    (of.group, of.topic, lane.0, lane.1, number)
}

fn key((group, topic, queue, lane, number): Place) -> keys::Key {
    keys::in_tail(group, topic, queue, lane, number)
}
