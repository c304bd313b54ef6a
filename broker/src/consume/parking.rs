//! Receives that wait for a message, in lines of (topic, consumer group), first come first woken.
//!
//! ```text
//!   park ─► in line ─► woken: out of line, goes and receives ─► got some, and more is there: wakes the next
//!              │                        └─► its client is gone: wakes the next
//!              └─► dropped: out of line
//! ```
//! One at a time is woken, so that one message does not make a thousand parked receives propose commands. A wake-up
//! says "look again"; one that is lost with its client is passed on.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, oneshot};

use crate::model::{ConsumerGroupId, TopicId};

type Line = (TopicId, ConsumerGroupId);

struct Ticket {
    number: u64,
    wake: oneshot::Sender<()>,
}

#[derive(Default)]
struct Lines {
    tickets: BTreeMap<Line, VecDeque<Ticket>>,
    count: usize,
    next_number: u64,
}

/// All lines of one node; bounded.
pub struct Parking {
    lines: Mutex<Lines>,
    parked_max: usize,
    /// Told when somebody parks where nobody was.
    occupied: Notify,
}

/// A place in a line; dropping it leaves the line.
pub struct Parked {
    parking: Arc<Parking>,
    line: Line,
    number: u64,
    wake: oneshot::Receiver<()>,
    /// Whether the wake-up was seen by the one who waits.
    heeded: bool,
}

impl Parking {
    /// At most `parked_max` places.
    pub fn new(parked_max: usize) -> Arc<Parking> {
        Arc::new(Parking { lines: Mutex::default(), parked_max, occupied: Notify::new() })
    }

    /// A place at the end of the line; nothing if all places are taken.
    pub fn park(self: &Arc<Self>, topic: TopicId, group: ConsumerGroupId) -> Option<Parked> {
        let line = (topic, group);
        let (wake, woken) = oneshot::channel();
        let mut lines = self.lock();
        if lines.count >= self.parked_max {
            return None;
        }
        let number = lines.next_number;
        lines.next_number += 1;
        lines.count += 1;
        lines.tickets.entry(line).or_default().push_back(Ticket { number, wake });
        if lines.count == 1 {
            self.occupied.notify_one();
        }
        Some(Parked { parking: Arc::clone(self), line, number, wake: woken, heeded: false })
    }

    /// The groups that wait for something in this topic.
    pub fn groups(&self, topic: TopicId) -> Vec<ConsumerGroupId> {
        let lines = self.lock();
        let range = (topic, ConsumerGroupId(0))..=(topic, ConsumerGroupId(u64::MAX));
        lines.tickets.range(range).map(|((_, group), _)| *group).collect()
    }

    /// Wakes the first in line, who leaves it. Says whether there was one.
    pub fn wake(&self, topic: TopicId, group: ConsumerGroupId) -> bool {
        let line = (topic, group);
        let mut lines = self.lock();
        let Some(tickets) = lines.tickets.get_mut(&line) else { return false };
        let ticket = tickets.pop_front().expect("a line that is empty is removed");
        if tickets.is_empty() {
            lines.tickets.remove(&line);
        }
        lines.count -= 1;
        drop(lines);
        // One who dropped the place just now passes the wake-up on himself.
        let _ = ticket.wake.send(());
        true
    }

    /// Returns when somebody is parked; for one caller.
    pub async fn occupied(&self) {
        while self.count() == 0 {
            self.occupied.notified().await;
        }
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.lock().count
    }

    /// Leaves the line. False if he was woken before.
    fn leave(&self, line: Line, number: u64) -> bool {
        let mut lines = self.lock();
        let Some(tickets) = lines.tickets.get_mut(&line) else { return false };
        let Some(at) = tickets.iter().position(|ticket| ticket.number == number) else { return false };
        tickets.remove(at);
        if tickets.is_empty() {
            lines.tickets.remove(&line);
        }
        lines.count -= 1;
        true
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parked {
    /// Returns when it is this one's turn to look again.
    pub async fn woken(&mut self) {
        let _ = (&mut self.wake).await;
        self.heeded = true;
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        let in_line = self.parking.leave(self.line, self.number);
        if !in_line && !self.heeded {
            self.parking.wake(self.line.0, self.line.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const TOPIC: TopicId = TopicId(1);
    const GROUP: ConsumerGroupId = ConsumerGroupId(2);

    fn is_woken(parked: &mut Parked) -> bool {
        parked.woken().now_or_never().is_some()
    }

    #[test]
    fn the_first_in_line_is_woken_alone() {
        let parking = Parking::new(10);
        let mut first = parking.park(TOPIC, GROUP).expect("room");
        let mut second = parking.park(TOPIC, GROUP).expect("room");
        let mut other = parking.park(TOPIC, ConsumerGroupId(3)).expect("room");
        assert_eq!(parking.groups(TOPIC), [GROUP, ConsumerGroupId(3)]);
        assert!(parking.wake(TOPIC, GROUP));
        assert!(is_woken(&mut first) && !is_woken(&mut second) && !is_woken(&mut other));
        assert_eq!(parking.count(), 2);
    }

    #[test]
    fn it_says_when_somebody_is_parked() {
        let parking = Parking::new(10);
        assert!(parking.occupied().now_or_never().is_none());
        let parked = parking.park(TOPIC, GROUP);
        assert!(parking.occupied().now_or_never().is_some());
        drop(parked);
        assert!(parking.occupied().now_or_never().is_none());
    }

    #[test]
    fn a_wake_up_that_nobody_heeds_is_passed_on() {
        let parking = Parking::new(10);
        let first = parking.park(TOPIC, GROUP).expect("room");
        let mut second = parking.park(TOPIC, GROUP).expect("room");
        parking.wake(TOPIC, GROUP);
        drop(first);
        assert!(is_woken(&mut second));
    }

    #[test]
    fn one_who_leaves_is_not_woken_and_frees_the_place() {
        let parking = Parking::new(1);
        let first = parking.park(TOPIC, GROUP).expect("room");
        assert!(parking.park(TOPIC, GROUP).is_none(), "bounded");
        drop(first);
        assert_eq!(parking.count(), 0);
        assert!(!parking.wake(TOPIC, GROUP));
        assert!(parking.groups(TOPIC).is_empty());
        assert!(parking.park(TOPIC, GROUP).is_some());
    }

    #[test]
    fn one_who_heeded_does_not_wake_others_by_leaving() {
        let parking = Parking::new(10);
        let mut first = parking.park(TOPIC, GROUP).expect("room");
        let mut second = parking.park(TOPIC, GROUP).expect("room");
        parking.wake(TOPIC, GROUP);
        assert!(is_woken(&mut first));
        drop(first);
        assert!(!is_woken(&mut second));
    }
}
