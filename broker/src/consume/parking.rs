//! Receives that wait for a message, in lines of (topic, consumer group), first come first woken.
//!
//! ```text
//!   park ─► in line ─► woken: out of line, goes and looks ─► looked: what is left wakes the next ones
//!              │                        └─► leaves before it looked: as many others are woken in its place
//!              └─► dropped: out of line
//! ```
//! As many are woken at once as the messages that are there can serve, so that a burst is not handed out one receive after
//! the other; and no more, so that one message does not make a thousand parked receives propose commands. Who was woken
//! *claims* as many messages as it asks for until it has looked. A wake-up says "look again"; none is lost with its client.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, oneshot};

use crate::model::{ConsumerGroupId, TopicId};

type Key = (TopicId, ConsumerGroupId);

#[derive(Debug)]
struct Ticket {
    messages_max: u16,
    wake: oneshot::Sender<()>,
}

/// Those who wait, by number, and what those want who were woken and have not looked yet.
#[derive(Debug, Default)]
struct Line {
    tickets: BTreeMap<u64, Ticket>,
    claimed: u64,
    /// Somebody was not woken because of a claim. The one whose claim it is may have looked too early.
    put_off: bool,
}

#[derive(Debug, Default)]
struct Lines {
    by_key: BTreeMap<Key, Line>,
    parked: usize,
    next_number: u64,
    /// Groups that somebody polled for since it was asked last.
    polled: BTreeSet<ConsumerGroupId>,
}

/// All lines of one node; bounded.
#[derive(Debug)]
pub struct Parking {
    lines: Mutex<Lines>,
    parked_max: usize,
    /// Told when somebody parks where nobody was.
    occupied: Notify,
}

/// A place in a line; dropping it leaves the line.
#[derive(Debug)]
pub struct Parked {
    parking: Arc<Parking>,
    key: Key,
    number: u64,
    messages_max: u16,
    wake: oneshot::Receiver<()>,
    /// Whether its claim is settled.
    looked: bool,
}

impl Parking {
    /// At most `parked_max` places.
    pub fn new(parked_max: usize) -> Arc<Parking> {
        Arc::new(Parking { lines: Mutex::default(), parked_max, occupied: Notify::new() })
    }

    /// A place at the end of the line, for one who takes so many messages; nothing if all places are taken.
    pub fn park(self: &Arc<Self>, topic: TopicId, group: ConsumerGroupId, messages_max: u16) -> Option<Parked> {
        assert!(messages_max > 0, "who takes nothing has nothing to wait for");
        let key = (topic, group);
        let (wake, woken) = oneshot::channel();
        let mut lines = self.lock();
        if lines.parked >= self.parked_max {
            return None;
        }
        let number = lines.next_number;
        lines.next_number += 1;
        lines.polled.insert(group);
        lines.parked += 1;
        lines.by_key.entry(key).or_default().tickets.insert(number, Ticket { messages_max, wake });
        if lines.parked == 1 {
            self.occupied.notify_one();
        }
        Some(Parked { parking: Arc::clone(self), key, number, messages_max, wake: woken, looked: false })
    }

    /// The groups that wait for something in this topic.
    pub fn groups(&self, topic: TopicId) -> Vec<ConsumerGroupId> {
        self.lock().waiting(topic)
    }

    /// Counts as polling for the group.
    pub fn in_use(&self, group: ConsumerGroupId) {
        self.lock().polled.insert(group);
    }

    /// The groups that somebody polled for since this was called last.
    pub fn take_polled(&self) -> Vec<ConsumerGroupId> {
        std::mem::take(&mut self.lock().polled).into_iter().collect()
    }

    /// So many messages are there, some of them new: wakes the first in line until they are claimed, at least one.
    pub fn arrived(&self, topic: TopicId, group: ConsumerGroupId, messages: u64) {
        self.lock().wake((topic, group), messages, u64::from(messages > 0));
    }

    /// So many messages are about to be stored in this topic: wakes the first in each of its lines until they are claimed, so that
    /// their receives share the entry with what they wait for. One that comes too early finds nothing, and has kept its place.
    pub fn expected(&self, topic: TopicId, messages: u64) {
        let mut lines = self.lock();
        if lines.parked == 0 {
            return;
        }
        for group in lines.waiting(topic) {
            lines.wake((topic, group), messages, 0);
        }
    }

    /// So many messages are left: wakes the first in line until they are claimed.
    pub fn left_over(&self, topic: TopicId, group: ConsumerGroupId, messages: u64) {
        self.lock().wake((topic, group), messages, 0);
    }

    /// Returns when somebody is parked; for one caller.
    pub async fn occupied(&self) {
        while self.count() == 0 {
            self.occupied.notified().await;
        }
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.lock().parked
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// The groups that wait for something in this topic.
    fn waiting(&self, topic: TopicId) -> Vec<ConsumerGroupId> {
        let range = (topic, ConsumerGroupId(0))..=(topic, ConsumerGroupId(u64::MAX));
        let waits = self.by_key.range(range).filter(|(_, line)| !line.tickets.is_empty());
        waits.map(|((_, group), _)| *group).collect()
    }

    /// Wakes the first in line, who leave it, until so many messages are claimed and so many were woken.
    fn wake(&mut self, key: Key, messages: u64, at_least: u64) {
        let Some(line) = self.by_key.get_mut(&key) else { return };
        line.put_off |= messages > 0 && line.claimed > 0;
        let mut woken = 0;
        while woken < at_least || line.claimed < messages {
            let Some((_, ticket)) = line.tickets.pop_first() else { break };
            self.parked -= 1;
            woken += 1;
            line.claimed += u64::from(ticket.messages_max);
            // One who drops the place just now passes the wake-up on himself.
            let _ = ticket.wake.send(());
        }
    }

    /// Takes somebody out of the line, or settles the claim of one who was woken. Says whether he was.
    fn leave(&mut self, key: Key, number: u64, messages_max: u16) -> bool {
        let line = self.by_key.get_mut(&key).expect("a line stays while somebody is in it or claims something");
        let was_woken = line.tickets.remove(&number).is_none();
        if was_woken {
            let claimed = line.claimed.checked_sub(u64::from(messages_max));
            line.claimed = claimed.expect("who was woken claims what he takes");
        } else {
            self.parked -= 1;
        }
        was_woken
    }

    fn remove_if_empty(&mut self, key: Key) {
        if self.by_key.get(&key).is_some_and(|line| line.tickets.is_empty() && line.claimed == 0) {
            self.by_key.remove(&key);
        }
    }
}

impl Parked {
    /// Returns when it is this one's turn to look again.
    pub async fn woken(&mut self) {
        let _ = (&mut self.wake).await;
    }

    /// It was woken, and has looked; `found` if it took something or saw that there is more. `next` is the place that it
    /// took before, for its next turn: if it goes on, it is answered back. `messages` says how many are left.
    pub fn looked(mut self, found: bool, next: Option<Parked>, messages: impl FnOnce() -> u64) -> Option<Parked> {
        self.looked = true;
        let (next, woken) = if found { (None, next.is_some_and(Parked::leave)) } else { (next, false) };
        let put_off = {
            let mut lines = self.parking.lock();
            let was_woken = lines.leave(self.key, self.number, self.messages_max);
            assert!(was_woken, "only who is woken looks");
            let line = lines.by_key.get_mut(&self.key).expect("it claimed something until now");
            let put_off = std::mem::take(&mut line.put_off);
            lines.remove_if_empty(self.key);
            put_off
        };
        // Who found nothing, and nobody was put off for his sake, wakes nobody: what is there may be there for nobody.
        if found || put_off {
            let left = messages();
            self.parking.lock().wake(self.key, left, u64::from(woken && left > 0));
        }
        next
    }

    /// Leaves for good; the caller sees to what is left. Says whether it was woken.
    fn leave(mut self) -> bool {
        self.looked = true;
        let mut lines = self.parking.lock();
        let was_woken = lines.leave(self.key, self.number, self.messages_max);
        lines.remove_if_empty(self.key);
        was_woken
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if self.looked {
            return;
        }
        let mut lines = self.parking.lock();
        if lines.leave(self.key, self.number, self.messages_max) {
            let claimed = lines.by_key[&self.key].claimed;
            lines.wake(self.key, claimed + u64::from(self.messages_max), 0);
        }
        lines.remove_if_empty(self.key);
    }
}

#[cfg(test)]
#[path = "parking_tests.rs"]
mod tests;
