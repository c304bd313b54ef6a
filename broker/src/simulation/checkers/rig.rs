//! Short histories, made by hand, for the tests of the checkers: one topic of one queue, and one group.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft_log::types::{LogIndex, Term, UnixMillis};

use super::{Violation, check};
use crate::model::{
    AttemptKey, ClientKey, ConsumerGroupId, Position, ProducerId, QueueId, QueueOffset, TagFilter, TopicId,
};
use crate::simulation::ledger::{Applied, GroupLine, Ledger, TopicLine};
use crate::simulation::log::{Asker, Log};
use crate::simulation::order::{Message, Order};
use crate::state::{
    Ack, AckEntry, DeadLetter, DeleteTopic, Deleted, DeliveryKey, Holder, NeededBody, Outcome, Pick, ProducerStamp,
    Receive, Received, ReleaseTo, Settled, StoredAt, Unsettled,
};

const TOPIC: TopicId = TopicId(1);
const LETTERS_OF_GROUP: TopicId = TopicId(2);
const GROUP: ConsumerGroupId = ConsumerGroupId(1);
const QUEUE: QueueId = QueueId(0);
const INVISIBLE_MS: u64 = 1000;
const MESSAGE_HEADER_BYTES: usize = 32;

pub(super) struct Rig {
    pub(super) ledger: Ledger,
    pub(super) log: Log,
    positions: BTreeMap<u64, Position>,
    /// The message in whose place another is said to lie.
    lies: BTreeMap<u64, u64>,
}

/// After so long every delivery is over.
pub(super) fn again() -> u64 {
    INVISIBLE_MS
}

/// A first try of a producer.
pub(super) fn stamp(base_sequence: u64, lowest: u64) -> Option<ProducerStamp> {
    let unsettled = Some(Unsettled { lowest, again: false });
    Some(ProducerStamp { id: ProducerId(1), epoch: 0, base_sequence, unsettled })
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig::of(false)
    }

    /// A group that keeps the order; all messages are of one message group.
    pub(super) fn fifo() -> Rig {
        Rig::of(true)
    }

    fn of(fifo: bool) -> Rig {
        let mut ledger = Ledger::default();
        let name = String::from("t");
        ledger.topics.insert(TOPIC, TopicLine { name, queues: vec![Vec::new()], ..TopicLine::default() });
        let name = String::from("%DLQ%g");
        ledger.topics.insert(LETTERS_OF_GROUP, TopicLine { name, ..TopicLine::default() });
        let name = String::from("g");
        ledger.groups.insert(GROUP, GroupLine { name, fifo, attempts_max: 9, automatic: false, gone: false });
        Rig { ledger, log: Log::default(), positions: BTreeMap::new(), lies: BTreeMap::new() }
    }

    /// Where the log ends.
    pub(super) fn end(&self) -> u64 {
        self.log.end()
    }

    fn step(&mut self, order: Order, outcome: &Outcome) -> Result<(), Violation> {
        let applied = Applied { index: LogIndex(self.log.end()), order: &order, outcome };
        check(&self.ledger, &self.log, &applied)?;
        self.ledger.enter(&applied);
        self.log.append_orders(Term(1), UnixMillis(self.ledger.clock), vec![(order, Asker::Operator)]);
        Ok(())
    }

    /// The checker of this name, and none before it, notices what is done.
    pub(super) fn expect(&mut self, checker: &str, done: impl FnOnce(&mut Rig) -> Result<(), Violation>) {
        let noticed = done(self).expect_err("it is noticed");
        assert_eq!(noticed.checker, checker, "{noticed:?}");
    }

    /// Messages that are said to get these offsets.
    pub(super) fn publish(&mut self, offsets: &[u64], producer: Option<ProducerStamp>) -> Result<(), Violation> {
        let key = if self.ledger.groups[&GROUP].fifo { "k" } else { "" };
        let body = |offset: &u64| Bytes::from(format!("body-{offset:04}"));
        let message = |offset: &u64| Message { queue: QUEUE, tag: "", key, body: body(offset) };
        let messages: Vec<_> = offsets.iter().map(message).collect();
        let at = |offset: &u64| StoredAt { queue: QUEUE, offset: QueueOffset(*offset), repeated: false };
        let stored = Outcome::Stored(offsets.iter().map(at).collect());
        let index = LogIndex(self.log.end());
        self.step(Order::Publish { topic: TOPIC, producer, messages }, &stored)?;
        let payload = self.log.payload(index).unwrap();
        for offset in offsets {
            let body = body(offset);
            let at = payload.windows(body.len()).position(|bytes| *bytes == body).unwrap() - MESSAGE_HEADER_BYTES;
            let length = u32::try_from(MESSAGE_HEADER_BYTES + body.len()).unwrap();
            self.positions.insert(*offset, Position { index, offset: u32::try_from(at).unwrap(), length });
        }
        Ok(())
    }

    /// The message is said to lie where the other one does.
    pub(super) fn lies_at(&mut self, message: u64, other: u64) {
        self.lies.insert(message, other);
    }

    /// Messages and their attempts, as many as were asked for.
    pub(super) fn receive(&mut self, picks: &[(u64, u16)]) -> Result<(), Violation> {
        self.receive_of(picks, u16::try_from(picks.len()).unwrap(), u32::MAX)
    }

    /// The same, and it could have been more.
    pub(super) fn receive_with_room(&mut self, picks: &[(u64, u16)]) -> Result<(), Violation> {
        self.receive_of(picks, 99, u32::MAX)
    }

    /// The same, up to so many bytes of messages, each of 41.
    pub(super) fn receive_bytes(&mut self, picks: &[(u64, u16)], bytes_max: u32) -> Result<(), Violation> {
        self.receive_of(picks, 99, bytes_max)
    }

    fn receive_of(&mut self, picks: &[(u64, u16)], messages_max: u16, bytes_max: u32) -> Result<(), Violation> {
        let pick = |(offset, attempt): &(u64, u16)| Pick {
            queue: QUEUE,
            offset: QueueOffset(*offset),
            attempt: *attempt,
            position: self.positions[self.lies.get(offset).unwrap_or(offset)],
            nonce: self.log.end(),
            deadline: UnixMillis(self.ledger.clock + INVISIBLE_MS),
            origin: None,
        };
        let received = Received { picks: picks.iter().map(pick).collect(), more: false };
        let receive = Rig::receive_order(messages_max, bytes_max);
        self.step(Order::Receive(receive), &Outcome::Received(received))
    }

    fn receive_order(messages_max: u16, bytes_max: u32) -> Receive {
        Receive {
            group: GROUP,
            topic: TOPIC,
            queue: None,
            filter: TagFilter::All,
            messages_max,
            bytes_max,
            invisible_ms: INVISIBLE_MS,
            auto_renew: ClientKey::NONE,
            attempt: AttemptKey::NONE,
        }
    }

    /// A receive that is answered like this.
    pub(super) fn answer_receive(&mut self, outcome: Outcome) -> Result<(), Violation> {
        self.step(Order::Receive(Rig::receive_order(9, u32::MAX)), &outcome)
    }

    /// A message that is answered like this.
    pub(super) fn refuse(&mut self, producer: Option<ProducerStamp>, outcome: Outcome) -> Result<(), Violation> {
        let message = Message { queue: QUEUE, tag: "", key: "", body: Bytes::from_static(b"refused") };
        self.step(Order::Publish { topic: TOPIC, producer, messages: vec![message] }, &outcome)
    }

    pub(super) fn delete_topic(&mut self, deleted: Deleted) -> Result<(), Violation> {
        self.step(Order::DeleteTopic(DeleteTopic { topic: TOPIC }), &Outcome::Deleted(deleted))
    }

    /// Time passes, and a tick takes it up.
    pub(super) fn pass(&mut self, ms: u64) {
        self.ledger.begin_entry(self.ledger.clock + ms);
        self.step(Order::Tick, &Outcome::Ticked).unwrap();
    }

    /// The handle of a message's last delivery.
    pub(super) fn handle(&self, offset: u64) -> AckEntry {
        let key = DeliveryKey { topic: TOPIC, group: GROUP, queue: QUEUE, offset };
        let of = self.ledger.deliveries.get(&key).unwrap();
        AckEntry { queue: QUEUE, offset: QueueOffset(offset), nonce: of.nonce, deadline: UnixMillis(of.deadline) }
    }

    pub(super) fn ack(&mut self, offset: u64) -> Result<(), Violation> {
        self.ack_by(self.handle(offset), Settled::Done)
    }

    pub(super) fn ack_by(&mut self, entry: AckEntry, settled: Settled) -> Result<(), Violation> {
        self.settle(entry, Outcome::Acked(vec![settled]))
    }

    /// An acknowledgement that is answered like this.
    pub(super) fn answer_ack(&mut self, offset: u64, outcome: Outcome) -> Result<(), Violation> {
        self.settle(self.handle(offset), outcome)
    }

    fn settle(&mut self, entry: AckEntry, outcome: Outcome) -> Result<(), Violation> {
        self.step(Order::Ack(Ack { group: GROUP, topic: TOPIC, entries: vec![entry] }), &outcome)
    }

    /// The consumer gives a message up, which goes to the dead letters.
    pub(super) fn give_up(&mut self, offset: u64) -> Result<(), Violation> {
        let dead = DeadLetter { group: GROUP, topic: TOPIC, entry: self.handle(offset) };
        self.step(Order::GiveUp(dead), &Outcome::DeadLettered(Settled::Done))
    }

    /// Where a message was published.
    pub(super) fn position(&self, offset: u64) -> Position {
        self.positions[&offset]
    }

    /// The bodies of messages move to the log's end, for their deliveries or, of dead letters, by their offsets there.
    pub(super) fn relocate(&mut self, bodies: &[(u64, Holder)], moved: u32) -> Result<(), Violation> {
        let body = |(message, holder): &(u64, Holder)| {
            let from = self.positions[message];
            NeededBody { from, holders: vec![*holder], record: Bytes::from(vec![0; from.length as usize]) }
        };
        let bodies = bodies.iter().map(body).collect();
        self.step(Order::Relocate(bodies), &Outcome::Relocated(moved))
    }

    /// Who holds the body of a delivery, and of a dead letter.
    pub(super) fn delivery(offset: u64) -> Holder {
        Holder::Delivery(DeliveryKey { topic: TOPIC, group: GROUP, queue: QUEUE, offset })
    }

    pub(super) fn letter(offset: u64) -> Holder {
        Holder::DeadLetter { topic: LETTERS_OF_GROUP, offset }
    }

    /// A trim to `to` that is answered by `start`.
    pub(super) fn trim(&mut self, to: u64, start: u64) -> Result<(), Violation> {
        self.step(Order::Trim(LogIndex(to)), &Outcome::Trimmed { start: LogIndex(start) })
    }

    pub(super) fn release(&mut self, to: u64, start: u64) -> Result<(), Violation> {
        let release = ReleaseTo { to: LogIndex(to), seen: LogIndex(self.log.end() - 1) };
        self.step(Order::Release(release), &Outcome::Trimmed { start: LogIndex(start) })
    }

    /// The start is behind everything, however it came there.
    pub(super) fn trim_past_all(&mut self) {
        self.ledger.start = LogIndex(self.log.end());
    }
}
