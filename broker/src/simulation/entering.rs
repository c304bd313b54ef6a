//! How the ledger follows the commands of the log and what came of them.

use raft_log::types::LogIndex;

use super::deliveries::{Delivery, Stand};
use super::ledger::{Applied, GroupLine, LETTERS, Ledger, Letter, Stored, TopicLine, key_of};
use super::order::{Message, Order};
use super::progress::Walk;
use crate::model::{AttemptKey, ClientKey, QueueOffset, TopicId, TopicType};
use crate::state::planted::tick_of;
use crate::state::{
    Created, Deleted, DeliveryKey, Holder, NeededBody, Origin, Outcome, Pick, ProducerStamp, Receive, Received,
    ReleaseTo, RenewLeases, Settled, StoredAt,
};

impl Ledger {
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
                self.deliveries.change(key, |of| {
                    (of.deadline, of.suspended, of.lease) = (deadline.0, change.suspend, None);
                });
                if change.invisible_ms == 0 && self.over(key) == Stand::Exhausted {
                    self.bury(key);
                }
            }
            (Order::GiveUp(dead), Outcome::DeadLettered(Settled::Done)) => {
                self.bury(key_of(dead.topic, dead.group, &dead.entry));
            }
            (Order::Renew(renew), Outcome::Renewed(renewed)) => self.renew(renew, *renewed > 0),
            (Order::Tick, Outcome::Ticked) => self.tick(),
            (Order::Trim(to), Outcome::Trimmed { start }) => {
                (self.asked, self.start) = (self.asked.max((*to).min(*index)), *start);
            }
            (Order::Release(ReleaseTo { to, .. }), Outcome::Trimmed { start }) => {
                let to = self.oldest_unread().map_or(*to, |(_, unread)| unread.min(*to));
                (self.asked, self.start) = (self.asked.max(to.min(*index)), *start);
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
                let of = of.expect("it was updated");
                (of.fifo, of.attempts_max) = (settings.fifo, settings.max_attempts);
            }
            (Order::DeleteTopic(delete), Outcome::Deleted(Deleted::Done)) => self.delete_topic(delete.topic),
            (Order::DeleteGroup(delete), Outcome::Deleted(Deleted::Done)) => {
                let group = self.groups.get_mut(&delete.group).expect("it was deleted");
                group.gone = true;
                let letters = format!("{LETTERS}{}", group.name);
                if delete.with_dead_letters {
                    self.letters.remove(&letters);
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
        self.letters.remove(&topic.name);
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
        of.used = self.clock;
        of.stored.extend((stamp.base_sequence..).zip(stored.iter().copied()));
    }

    fn enter_receive(&mut self, index: LogIndex, receive: &Receive, received: &Received) {
        let walk = Walk::of(self, index, receive, received).expect("a checker has seen it");
        self.progress.entry((receive.topic, receive.group)).or_default().follow(&walk);
        let lease = self.lease_of(index, receive, received);
        for pick in &received.picks {
            self.deliver(index, receive, lease, pick);
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
            attempt_key: if fifo { receive.attempt } else { AttemptKey::NONE },
        };
        self.deliveries.set(key, delivery);
        if let Some(lane) = self.lane_of(key).filter(|_| fifo) {
            self.progress.entry((key.topic, key.group)).or_default().reach(lane, key.offset);
        }
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
                Some(key) => {
                    self.over(key);
                }
                None if self.end_lease() => {}
                None => break,
            }
        }
        let exhausted = self.deliveries.open().filter(|(_, of)| of.stand == Stand::Exhausted).map(|(key, _)| key);
        for key in exhausted.take(letters_max).collect::<Vec<_>>() {
            self.bury(key);
        }
    }

    /// The next delivery that a tick ends.
    fn expired(&self) -> Option<DeliveryKey> {
        let hidden = || self.deliveries.open().filter(|(_, of)| of.stand == Stand::Hidden);
        let passed = hidden().filter(|(_, of)| of.deadline <= self.clock).map(|(key, of)| (of.deadline, key)).min();
        let on_ended = || hidden().filter_map(|(key, of)| Some((of.lease.filter(|of| self.ended.contains(of))?, key)));
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

    /// A delivery is over, without an acknowledgement; says where it stands then.
    fn over(&mut self, key: DeliveryKey) -> Stand {
        let lives = self.lives(key.topic, key.group);
        let attempts_max = self.groups[&key.group].attempts_max;
        let mut stand = Stand::Due;
        self.deliveries.change(key, |of| {
            if lives && of.attempt >= attempts_max && !of.suspended {
                stand = Stand::Exhausted;
            }
            (of.lease, of.stand) = (None, stand);
        });
        stand
    }

    fn bury(&mut self, key: DeliveryKey) {
        let own = Origin { topic: key.topic, queue: key.queue, offset: QueueOffset(key.offset) };
        let origin = self.found(key.topic, key.queue, key.offset).and_then(|found| found.origin).unwrap_or(own);
        let at = self.deliveries.get(&key).expect("a checker has seen it").at;
        let name = format!("{LETTERS}{}", self.groups[&key.group].name);
        self.letters.entry(name).or_default().push(Letter { origin, at });
        self.finish(key, Stand::Dead);
    }

    /// A group is done with a message; if nothing of its message group is left that it has taken, the next that waits follows.
    fn finish(&mut self, key: DeliveryKey, stand: Stand) {
        self.deliveries.change(key, |of| of.stand = stand);
        let Some(lane) = self.lane_of(key) else { return };
        let mut open = self.deliveries.open_of(key.topic, key.group);
        let left = open.any(|(other, _)| self.lane_of(other) == Some(lane));
        drop(open);
        if left {
            return;
        }
        let Some(progress) = self.progress.get_mut(&(key.topic, key.group)) else { return };
        // What retention wants to be gone is passed over: it must not begin to hold the log.
        let Some(messages) = self.topics[&key.topic].queues.get(lane.0.0 as usize) else { return };
        let asked = self.asked;
        let index = |offset: u64| messages[usize::try_from(offset).expect("an offset of this run")].index;
        if let Some(offset) = progress.next_of(lane, |offset| index(offset) >= asked) {
            let next = Delivery::waiting(index(offset));
            self.deliveries.set(DeliveryKey { offset, ..key }, next);
        }
    }

    fn relocate(&mut self, index: LogIndex, bodies: &[NeededBody]) {
        for body in bodies {
            for holder in &body.holders {
                if self.holds(holder, body.from.index) == Some(true) {
                    self.relocate_one(index, holder);
                }
            }
        }
    }

    fn relocate_one(&mut self, index: LogIndex, holder: &Holder) {
        match *holder {
            Holder::Delivery(key) if self.deliveries.get(&key).is_some_and(Delivery::ends_when_moved) => {
                self.finish(key, Stand::Expired);
            }
            Holder::Delivery(key) => {
                self.deliveries.change(key, |of| (of.moved, of.at) = (of.stand == Stand::Due, index));
            }
            Holder::DeadLetter { topic, offset } => {
                let letters = self.letters.get_mut(&self.topics[&topic].name).expect("it holds a body");
                letters[usize::try_from(offset).expect("an offset of this run")].at = index;
            }
        }
    }
}
