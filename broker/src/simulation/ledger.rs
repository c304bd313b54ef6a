//! What the committed log says, kept in the plainest way: every message, and what each group has seen of it.
//!
//! Checkers compare each command's outcome with what stands here, before it is entered. Nothing in here asks the state.

use std::collections::{BTreeMap, BTreeSet};

use raft_log::types::LogIndex;

use super::deliveries::{Deliveries, Delivery};
use super::order::{Message, Order};
use super::progress::{Lane, Progress};
use crate::model::{ClientKey, ConsumerGroupId, ProducerId, QueueId, TopicId};
use crate::state::{AckEntry, DeliveryKey, Holder, Origin, Outcome, RenewLeases, StoredAt};

/// What the name of a topic of dead letters begins with.
pub(super) const LETTERS: &str = "%DLQ%";

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

/// A topic; one that a dead letter made has no queues here: its letters are known by its name.
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
    /// The ledger's clock when something was stored or repeated last.
    pub(super) used: u64,
}

/// By topic, producer and epoch.
pub(super) type ProducerKey = (TopicId, ProducerId, u64);

/// A dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) origin: Origin,
    /// The entry in which its body lies.
    pub(super) at: LogIndex,
}

/// A message where somebody reads it: in its topic, or among the dead letters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) stored: &'a Stored,
    /// The entry in which it lies for who has not taken it.
    pub(super) at: LogIndex,
    /// Of a dead letter.
    pub(super) origin: Option<Origin>,
}

/// How a group stands to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has not come to it.
    Fresh,
    /// It passed it for the sake of the order.
    Waits(Lane),
    /// It was delivered, or is the next of its message group, and is not done with.
    Taken,
    Done,
    /// Retention took it before it was delivered.
    Gone,
}

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
    /// Of groups that have received from topics, ever so little.
    pub(super) progress: BTreeMap<(TopicId, ConsumerGroupId), Progress>,
    pub(super) deliveries: Deliveries,
    /// Leases that have not ended: the entry with which each began, and its deadline.
    pub(super) leases: BTreeMap<ClientKey, (LogIndex, u64)>,
    /// Leases that have ended.
    pub(super) ended: BTreeSet<(ClientKey, LogIndex)>,
    /// Dead letters that are there, by the names of their topics, in the order of their offsets.
    pub(super) letters: BTreeMap<String, Vec<Letter>>,
    pub(super) sequences: BTreeMap<ProducerKey, Sequences>,
    /// Whether the start or a body has moved since somebody looked.
    pub(super) moved: bool,
}

impl Ledger {
    /// The message of a delivery.
    pub(super) fn message(&self, key: DeliveryKey) -> Option<&Stored> {
        self.found(key.topic, key.queue, key.offset).map(|found| found.stored)
    }

    pub(super) fn stored(&self, topic: TopicId, queue: QueueId, offset: u64) -> Option<&Stored> {
        self.topics.get(&topic)?.queues.get(queue.0 as usize)?.get(usize::try_from(offset).ok()?)
    }

    /// A message at its place in a topic, which may be one of dead letters.
    pub(super) fn found(&self, topic: TopicId, queue: QueueId, offset: u64) -> Option<Found<'_>> {
        let Some(letters) = self.letters_of(topic) else {
            let stored = self.stored(topic, queue, offset)?;
            return Some(Found { stored, at: stored.index, origin: None });
        };
        let Letter { origin, at } = *letters.get(usize::try_from(offset).ok()?).filter(|_| queue == QueueId(0))?;
        let stored = self.stored(origin.topic, origin.queue, origin.offset.0)?;
        Some(Found { stored, at, origin: Some(origin) })
    }

    /// The letters of a topic of dead letters that is there.
    fn letters_of(&self, topic: TopicId) -> Option<&[Letter]> {
        let line = self.topics.get(&topic).filter(|line| line.name.starts_with(LETTERS))?;
        let letters = self.letters.get(&line.name).filter(|_| !line.gone);
        Some(letters.map_or(&[], Vec::as_slice))
    }

    /// How many queues a topic has.
    pub(super) fn queues(&self, topic: TopicId) -> u32 {
        let queues = self.topics.get(&topic).map_or(0, |line| line.queues.len());
        u32::try_from(queues).expect("few queues").max(1)
    }

    /// Behind the last message of a queue.
    pub(super) fn end_of(&self, topic: TopicId, queue: QueueId) -> u64 {
        let messages = || self.topics.get(&topic)?.queues.get(queue.0 as usize).map(Vec::len);
        let letters = self.letters_of(topic).map(<[Letter]>::len);
        letters.or_else(messages).unwrap_or(0) as u64
    }

    /// All places of a topic.
    pub(super) fn places(&self, topic: TopicId) -> impl Iterator<Item = (QueueId, u64)> {
        let queues = (0..self.queues(topic)).map(QueueId);
        queues.flat_map(move |queue| (0..self.end_of(topic, queue)).map(move |offset| (queue, offset)))
    }

    pub(super) fn standing(&self, key: DeliveryKey) -> Standing {
        match self.deliveries.get(&key) {
            Some(of) if of.is_done() => return Standing::Done,
            Some(_) => return Standing::Taken,
            None => {}
        }
        let progress = self.progress.get(&(key.topic, key.group));
        let fresh = key.offset >= progress.map_or(0, |progress| progress.taken(key.queue));
        let lane = self.lane_of(key).filter(|lane| progress.is_some_and(|of| of.waits(*lane, key.offset)));
        let there = self.found(key.topic, key.queue, key.offset).is_none_or(|of| of.at >= self.start);
        match lane {
            _ if !there => Standing::Gone,
            _ if fresh => Standing::Fresh,
            Some(lane) => Standing::Waits(lane),
            None => Standing::Done,
        }
    }

    /// Whether a topic and a group are there.
    pub(super) fn lives(&self, topic: TopicId, group: ConsumerGroupId) -> bool {
        self.topics.get(&topic).is_some_and(|topic| !topic.gone)
            && self.groups.get(&group).is_some_and(|group| !group.gone)
    }

    /// What groups that are there have taken and not finished.
    pub(super) fn pending(&self) -> impl Iterator<Item = (DeliveryKey, &Delivery)> {
        self.deliveries.open().filter(|(key, _)| self.lives(key.topic, key.group))
    }

    /// The message group of a message, if it has one.
    pub(super) fn lane_of(&self, key: DeliveryKey) -> Option<Lane> {
        let of = self.message(key)?.message.key;
        (!of.is_empty()).then_some((key.queue, of))
    }

    /// The oldest entry with a message that is there and that a group has yet to be given; in a topic without groups that is every
    /// message.
    pub(super) fn oldest_unread(&self) -> Option<(DeliveryKey, LogIndex)> {
        let topics = self.topics.iter().filter(|(_, line)| !line.gone && !line.name.starts_with(LETTERS));
        let unread = topics.flat_map(|(topic, _)| {
            let groups = self.progress.keys().filter(|(of, group)| of == topic && self.lives(*topic, *group));
            let mut groups: Vec<_> = groups.map(|(_, group)| *group).collect();
            if groups.is_empty() {
                groups.push(ConsumerGroupId(0));
            }
            groups.into_iter().filter_map(|group| self.oldest_unread_of(*topic, group))
        });
        unread.min_by_key(|(_, index)| *index)
    }

    fn oldest_unread_of(&self, topic: TopicId, group: ConsumerGroupId) -> Option<(DeliveryKey, LogIndex)> {
        let places = self.places(topic).map(|(queue, offset)| DeliveryKey { topic, group, queue, offset });
        let unread = places.filter(|key| matches!(self.standing(*key), Standing::Fresh | Standing::Waits(_)));
        unread.filter_map(|key| Some((key, self.message(key)?.index))).min_by_key(|(_, index)| *index)
    }

    /// What a renewal makes of the lease of its one client: a deadline, or nothing if it stays.
    pub(super) fn renewal(&self, renew: &RenewLeases) -> Option<(ClientKey, LogIndex, u64)> {
        assert_eq!(renew.clients.len(), 1, "a run renews one lease with each command");
        let (begun, before) = self.leases.get(&renew.clients[0]).copied()?;
        let deadline = self.clock + renew.invisible_ms;
        let moves = if renew.shorten { deadline < before } else { deadline > before };
        moves.then_some((renew.clients[0], begun, deadline))
    }

    /// Whether a holder still is one of a body in this entry; nothing if it is of what was deleted, which the state may or may not
    /// have forgotten.
    pub(super) fn holds(&self, holder: &Holder, from: LogIndex) -> Option<bool> {
        match *holder {
            Holder::Delivery(key) if !self.lives(key.topic, key.group) => None,
            Holder::Delivery(key) => Some(self.deliveries.get(&key).is_some_and(|of| !of.is_done() && of.at == from)),
            Holder::DeadLetter { topic, .. } if self.topics.get(&topic).is_none_or(|line| line.gone) => None,
            Holder::DeadLetter { topic, offset } => {
                Some(self.found(topic, QueueId(0), offset).is_some_and(|of| of.at == from))
            }
        }
    }
}

/// The delivery that a handle speaks of.
pub(super) fn key_of(topic: TopicId, group: ConsumerGroupId, entry: &AckEntry) -> DeliveryKey {
    DeliveryKey { topic, group, queue: entry.queue, offset: entry.offset.0 }
}
