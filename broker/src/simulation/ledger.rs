//! What the committed log says, kept in the plainest way: every message, and what each group has seen of it.
//!
//! Checkers compare each command's outcome with what stands here, before it is entered. Nothing in here asks the state.

use std::collections::{BTreeMap, BTreeSet};

use raft_log::types::LogIndex;

use super::deliveries::{Delivery, Stand};
use super::order::{Message, Order};
use crate::model::{ClientKey, ConsumerGroupId, ProducerId, QueueId, TagFilter, TopicId, TopicType};
use crate::state::planted::tick_of;
use crate::state::{
    AckEntry, Created, Deleted, DeliveryKey, Holder, NeededBody, Origin, Outcome, Pick, ProducerStamp, Receive,
    Received, RenewLeases, Settled, StoredAt,
};

/// A command that was applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Applied<'a> {
    pub(super) index: LogIndex,
    pub(super) order: &'a Order,
    pub(super) outcome: &'a Outcome,
}

/// A message of a topic.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// The entry with it.
    pub(super) index: LogIndex,
    pub(super) message: Message,
}

/// A topic; one that a dead letter made has no messages here, because they are known by their origins.
#[derive(Clone, Debug, Default)]
pub(super) struct TopicLine {
    pub(super) name: String,
    pub(super) queues: Vec<Vec<Stored>>,
    pub(super) gone: bool,
}

/// A consumer group.
#[derive(Clone, Debug)]
pub(super) struct GroupLine {
    pub(super) name: String,
    pub(super) fifo: bool,
    pub(super) attempts_max: u16,
    /// Whether it goes when nobody uses it.
    pub(super) automatic: bool,
    pub(super) gone: bool,
}

/// What a producer has stored in a topic, in one epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Sequences {
    pub(super) stored: BTreeMap<u64, StoredAt>,
    /// The greatest lowest sequence in doubt that was accepted.
    pub(super) floor: u64,
}

/// By topic, producer and epoch.
pub(super) type ProducerKey = (TopicId, ProducerId, u64);
/// A dead letter: the name of its topic, and where its message was first.
pub(super) type Letter = (String, TopicId, u32, u64);

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// The greatest stamp.
    pub(super) clock: u64,
    /// The readable start, and where retention wants it.
    pub(super) start: LogIndex,
    pub(super) asked: LogIndex,
    pub(super) topics: BTreeMap<TopicId, TopicLine>,
    pub(super) groups: BTreeMap<ConsumerGroupId, GroupLine>,
    /// Groups that have received from topics, ever so little.
    pub(super) subscriptions: BTreeSet<(TopicId, ConsumerGroupId)>,
    pub(super) deliveries: BTreeMap<DeliveryKey, Delivery>,
    /// Never delivered; the group may be done with it, because somebody did not want it.
    pub(super) unwanted: BTreeSet<DeliveryKey>,
    /// Leases that have not ended: the entry with which each began, and its deadline.
    pub(super) leases: BTreeMap<ClientKey, (LogIndex, u64)>,
    /// Leases that have ended.
    pub(super) ended: BTreeSet<(ClientKey, LogIndex)>,
    /// Dead letters that are there, and how often.
    pub(super) letters: BTreeMap<Letter, u32>,
    pub(super) sequences: BTreeMap<ProducerKey, Sequences>,
    /// Whether the start or a body has moved since somebody looked.
    pub(super) moved: bool,
}

pub(super) fn letter(name: &str, Origin { topic, queue, offset }: Origin) -> Letter {
    (format!("%DLQ%{name}"), topic, queue.0, offset.0)
}

impl Ledger {
    /// The message of a delivery; nothing for a dead letter that nobody has got.
    pub(super) fn message(&self, key: DeliveryKey) -> Option<&Stored> {
        if let Some(Origin { topic, queue, offset }) = self.deliveries.get(&key).and_then(|of| of.origin) {
            return self.stored(topic, queue, offset.0);
        }
        self.stored(key.topic, key.queue, key.offset)
    }

    pub(super) fn stored(&self, topic: TopicId, queue: QueueId, offset: u64) -> Option<&Stored> {
        self.topics.get(&topic)?.queues.get(queue.0 as usize)?.get(usize::try_from(offset).ok()?)
    }

    /// Whether a topic and a group are there.
    pub(super) fn lives(&self, topic: TopicId, group: ConsumerGroupId) -> bool {
        self.topics.get(&topic).is_some_and(|topic| !topic.gone)
            && self.groups.get(&group).is_some_and(|group| !group.gone)
    }

    /// Whether retention may have taken a message before its group came to it. What waits for the sake of the order may go as soon as
    /// retention wants it, the rest once the start has passed it.
    pub(super) fn passed(&self, group: ConsumerGroupId, stored: &Stored) -> bool {
        stored.index < if self.groups[&group].fifo { self.asked } else { self.start }
    }

    /// What groups that are there have taken and not finished.
    pub(super) fn pending(&self) -> impl Iterator<Item = (DeliveryKey, &Delivery)> {
        let there = self.deliveries.iter().filter(|(key, of)| !of.is_done() && self.lives(key.topic, key.group));
        there.map(|(key, of)| (*key, of))
    }

    /// The messages of one message group, in order.
    pub(super) fn lane(&self, key: DeliveryKey) -> Vec<DeliveryKey> {
        let Some(of) = self.stored(key.topic, key.queue, key.offset).map(|stored| stored.message.key) else {
            return vec![key];
        };
        if of.is_empty() {
            return vec![key];
        }
        let queue = &self.topics[&key.topic].queues[key.queue.0 as usize];
        let same = (0..).zip(queue).filter(|(_, stored)| stored.message.key == of);
        same.map(|(offset, _)| DeliveryKey { offset, ..key }).collect()
    }

    /// An entry of this stamp begins.
    pub(super) fn begin_entry(&mut self, stamp: u64) {
        self.clock = self.clock.max(stamp);
    }

    /// Enters a command.
    pub(super) fn enter(&mut self, Applied { index, order, outcome }: &Applied<'_>) {
        self.moved |= matches!(order, Order::Trim(_) | Order::Release(_) | Order::Relocate(_) | Order::Tick);
        match (order, outcome) {
            (Order::Publish { topic, producer, messages }, Outcome::Stored(stored)) => {
                self.enter_publish(*index, *topic, *producer, messages, stored);
            }
            (Order::Receive(receive), Outcome::Received(received)) => self.enter_receive(*index, receive, received),
            (Order::Ack(ack), Outcome::Acked(settled)) => {
                for (entry, _) in ack.entries.iter().zip(settled).filter(|(_, settled)| **settled == Settled::Done) {
                    self.finish(key_of(ack.topic, ack.group, entry), Stand::Acknowledged);
                }
            }
            (Order::Change(change), Outcome::Changed(Ok(deadline))) => {
                let key = key_of(change.topic, change.group, &change.entry);
                let delivery = self.deliveries.get_mut(&key).expect("a checker has seen it");
                (delivery.deadline, delivery.suspended, delivery.lease) = (deadline.0, change.suspend, None);
                if change.invisible_ms == 0 {
                    self.over(key);
                    if self.deliveries[&key].stand == Stand::Exhausted {
                        self.bury(key);
                    }
                }
            }
            (Order::GiveUp(dead), Outcome::DeadLettered(Settled::Done)) => {
                self.bury(key_of(dead.topic, dead.group, &dead.entry));
            }
            (Order::Renew(renew), Outcome::Renewed(renewed)) => self.renew(renew, *renewed > 0),
            (Order::Tick, Outcome::Ticked) => self.tick(),
            (Order::Trim(to) | Order::Release(to), Outcome::Trimmed { start }) => {
                // A release may ask for less; what that excuses is little.
                (self.asked, self.start) = (self.asked.max((*to).min(*index)), *start);
            }
            (Order::Relocate(bodies), Outcome::Relocated(_)) => self.relocate(*index, bodies),
            _ => self.enter_change_of_names(order, outcome),
        }
    }

    fn enter_change_of_names(&mut self, order: &Order, outcome: &Outcome) {
        match (order, outcome) {
            (Order::CreateTopic(create), Outcome::Topic(Created::New(id))) => {
                let (name, queues) = (create.name.as_str().to_owned(), create.settings.queues as usize);
                assert!(matches!(create.settings.kind, TopicType::Normal | TopicType::Fifo));
                self.topics.insert(*id, TopicLine { name, queues: vec![Vec::new(); queues], ..TopicLine::default() });
            }
            (Order::CreateGroup(create), Outcome::Group(Created::New(id))) => {
                let (name, settings) = (create.name.as_str().to_owned(), create.settings);
                let (fifo, attempts_max) = (settings.fifo, settings.max_attempts);
                self.groups
                    .insert(*id, GroupLine { name, fifo, attempts_max, automatic: create.automatic, gone: false });
            }
            (Order::UpdateGroup(update), Outcome::GroupUpdated(settings)) => {
                let of = self.groups.values_mut().find(|group| !group.gone && group.name == update.name.as_str());
                of.expect("it was updated").attempts_max = settings.max_attempts;
            }
            (Order::DeleteTopic(delete), Outcome::Deleted(Deleted::Done)) => self.delete_topic(delete.topic),
            (Order::DeleteGroup(delete), Outcome::Deleted(Deleted::Done)) => {
                let group = self.groups.get_mut(&delete.group).expect("it was deleted");
                group.gone = true;
                let letters = format!("%DLQ%{}", group.name);
                if delete.with_dead_letters {
                    self.letters.retain(|(name, ..), _| *name != letters);
                    self.topics.values_mut().filter(|topic| topic.name == letters).for_each(|topic| topic.gone = true);
                }
            }
            // One automatic group is there at most.
            (Order::Keep(_), Outcome::GroupsKept { deleted }) if *deleted > 0 => {
                self.groups.values_mut().filter(|group| group.automatic).for_each(|group| group.gone = true);
            }
            _ => {}
        }
    }

    /// A topic is gone, and what was in it.
    pub(super) fn delete_topic(&mut self, id: TopicId) {
        let topic = self.topics.entry(id).or_default();
        topic.gone = true;
        let gone = topic.name.clone();
        self.letters.retain(|(name, ..), _| *name != gone);
    }

    fn enter_publish(
        &mut self,
        index: LogIndex,
        topic: TopicId,
        producer: Option<ProducerStamp>,
        messages: &[Message],
        stored: &[StoredAt],
    ) {
        for (message, at) in messages.iter().zip(stored).filter(|(_, at)| !at.repeated) {
            let queues = &mut self.topics.get_mut(&topic).expect("a checker has seen it").queues;
            let message = Message { queue: at.queue, ..message.clone() };
            queues[at.queue.0 as usize].push(Stored { index, message });
        }
        let Some(stamp) = producer else { return };
        let of = self.sequences.entry((topic, stamp.id, stamp.epoch)).or_default();
        of.floor = of.floor.max(stamp.unsettled.map_or(0, |unsettled| unsettled.lowest));
        of.stored.extend((stamp.base_sequence..).zip(stored.iter().copied()));
    }

    fn enter_receive(&mut self, index: LogIndex, receive: &Receive, received: &Received) {
        self.subscriptions.insert((receive.topic, receive.group));
        let lease = self.lease_of(index, receive, received);
        for pick in &received.picks {
            self.deliver(index, receive, lease, pick);
        }
        let TagFilter::Tags(wanted) = &receive.filter else { return };
        let Some(topic) = self.topics.get(&receive.topic) else { return };
        for (queue, messages) in (0..).map(QueueId).zip(&topic.queues) {
            for (offset, _) in (0..).zip(messages).filter(|(_, stored)| !wanted.contains(stored.message.tag)) {
                let key = DeliveryKey { topic: receive.topic, group: receive.group, queue, offset };
                if !self.deliveries.contains_key(&key) {
                    self.unwanted.insert(key);
                }
            }
        }
    }

    /// The lease on which a receive's deliveries are; it lives as long again.
    fn lease_of(&mut self, index: LogIndex, receive: &Receive, received: &Received) -> Option<(ClientKey, LogIndex)> {
        let client = receive.auto_renew;
        if client.is_none() || received.picks.is_empty() {
            return None;
        }
        let (begun, deadline) = self.leases.get(&client).copied().unwrap_or((index, 0));
        let enough = self.clock + receive.invisible_ms - receive.invisible_ms / 4;
        let deadline = if deadline < enough { self.clock + receive.invisible_ms } else { deadline };
        self.leases.insert(client, (begun, deadline));
        Some((client, begun))
    }

    fn deliver(&mut self, index: LogIndex, receive: &Receive, lease: Option<(ClientKey, LogIndex)>, pick: &Pick) {
        let key = DeliveryKey { topic: receive.topic, group: receive.group, queue: pick.queue, offset: pick.offset.0 };
        let fifo = self.groups[&receive.group].fifo;
        let before = self.deliveries.get(&key);
        let again = before.is_some_and(|before| before.stand == Stand::Hidden);
        let delivery = Delivery {
            attempt: pick.attempt,
            stand: Stand::Hidden,
            suspended: before.is_some_and(|before| again && before.suspended),
            moved: false,
            deadline: pick.deadline.0,
            nonce: if again { pick.nonce } else { index.0 },
            at: pick.position.index,
            lease,
            attempt_key: if fifo { receive.attempt } else { crate::model::AttemptKey::NONE },
            origin: pick.origin,
        };
        self.deliveries.insert(key, delivery);
        self.unwanted.remove(&key);
    }

    /// What a renewal makes of the lease of its one client: a deadline, or nothing if it stays.
    pub(super) fn renewal(&self, renew: &RenewLeases) -> Option<(ClientKey, LogIndex, u64)> {
        assert_eq!(renew.clients.len(), 1, "a run renews one lease with each command");
        let (begun, before) = self.leases.get(&renew.clients[0]).copied()?;
        let deadline = self.clock + renew.invisible_ms;
        let moves = if renew.shorten { deadline < before } else { deadline > before };
        moves.then_some((renew.clients[0], begun, deadline))
    }

    /// One that was to be renewed and was not, is over: nothing was on it.
    fn renew(&mut self, renew: &RenewLeases, renewed: bool) {
        let Some((client, begun, deadline)) = self.renewal(renew) else { return };
        if renewed {
            self.leases.insert(client, (begun, deadline));
        } else {
            self.leases.remove(&client);
        }
    }

    /// What a tick comes to: deliveries whose time is over, then what is on leases that have ended, then leases; and after those
    /// what has no attempts left. Where things are deleted ticks do all there is, for what is gone has its part in them.
    fn tick(&mut self) {
        let (expired_max, letters_max) = tick_of((usize::MAX, usize::MAX));
        for _ in 0..expired_max {
            match self.expired() {
                Some(key) => self.over(key),
                None if self.end_lease() => {}
                None => break,
            }
        }
        let exhausted = self.deliveries.iter().filter(|(_, of)| of.stand == Stand::Exhausted).map(|(key, _)| *key);
        for key in exhausted.take(letters_max).collect::<Vec<_>>() {
            self.bury(key);
        }
    }

    /// The next delivery that a tick ends.
    fn expired(&self) -> Option<DeliveryKey> {
        let hidden = || self.deliveries.iter().filter(|(_, of)| of.stand == Stand::Hidden);
        let passed = hidden().filter(|(_, of)| of.deadline <= self.clock).map(|(key, of)| (of.deadline, *key)).min();
        let on_ended = || hidden().filter_map(|(key, of)| Some((of.lease.filter(|of| self.ended.contains(of))?, *key)));
        passed.map(|(_, key)| key).or_else(|| on_ended().min().map(|(_, key)| key))
    }

    /// Ends the lease whose time was over first; false if none is.
    fn end_lease(&mut self) -> bool {
        let over = self.leases.iter().filter(|(_, (_, deadline))| *deadline <= self.clock);
        let Some((_, client)) = over.map(|(client, (_, deadline))| (*deadline, *client)).min() else { return false };
        let (begun, _) = self.leases.remove(&client).expect("found above");
        self.ended.insert((client, begun));
        true
    }

    /// A delivery is over, without an acknowledgement.
    fn over(&mut self, key: DeliveryKey) {
        let lives = self.lives(key.topic, key.group);
        let attempts_max = self.groups[&key.group].attempts_max;
        let delivery = self.deliveries.get_mut(&key).expect("there is one");
        delivery.lease = None;
        let exhausted = lives && delivery.attempt >= attempts_max && !delivery.suspended;
        delivery.stand = if exhausted { Stand::Exhausted } else { Stand::Due };
    }

    fn bury(&mut self, key: DeliveryKey) {
        let own = Origin { topic: key.topic, queue: key.queue, offset: crate::model::QueueOffset(key.offset) };
        let origin = self.deliveries[&key].origin.unwrap_or(own);
        *self.letters.entry(letter(&self.groups[&key.group].name, origin)).or_default() += 1;
        self.finish(key, Stand::Dead);
    }

    fn finish(&mut self, key: DeliveryKey, stand: Stand) {
        self.deliveries.get_mut(&key).expect("a checker has seen it").stand = stand;
    }

    /// Whether a holder still is one of a body in this entry, as far as that stands here: nothing of dead letters does, nor of
    /// what was deleted.
    pub(super) fn holds(&self, holder: &Holder, from: LogIndex) -> Option<(DeliveryKey, bool)> {
        let Holder::Delivery(key) = *holder else { return None };
        if !self.lives(key.topic, key.group) {
            return None;
        }
        let holds = match self.deliveries.get(&key) {
            Some(of) => !of.is_done() && of.at == from,
            // The next of its message group: it was taken and never delivered.
            None => self.message(key).is_some_and(|stored| stored.index == from),
        };
        Some((key, holds))
    }

    fn relocate(&mut self, index: LogIndex, bodies: &[NeededBody]) {
        for body in bodies {
            for (key, _) in body
                .holders
                .iter()
                .filter_map(|of| self.holds(of, body.from.index))
                .filter(|of| of.1)
                .collect::<Vec<_>>()
            {
                let of = self.deliveries.entry(key).or_insert_with(|| Delivery::waiting(body.from.index));
                let waits = of.stand == Stand::Due;
                if waits && of.moved {
                    of.stand = Stand::Expired;
                } else {
                    (of.moved, of.at) = (waits, index);
                }
            }
        }
    }
}

/// The delivery that a handle speaks of.
pub(super) fn key_of(topic: TopicId, group: ConsumerGroupId, entry: &AckEntry) -> DeliveryKey {
    DeliveryKey { topic, group, queue: entry.queue, offset: entry.offset.0 }
}
