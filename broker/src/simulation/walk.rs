//! What a receive passes on its way, as its answer shows it: first what is due again and what waits, then what is fresh, queue by
//! queue, beginning at another one with each entry, until it has what it asked for.
//!
//! Whatever it passes is given, has expired by now, is not wanted, or waits for its message group. Where a message is none of that,
//! somebody will miss it.

use std::collections::BTreeSet;

use raft_log::types::LogIndex;

use super::deliveries::{Delivery, Stand};
use super::ledger::{Ledger, Standing};
use super::progress::{Lane, Progress, Walk};
use crate::model::{QueueId, TagFilter};
use crate::state::{DeliveryKey, Pick, Receive, Received};

/// Bytes of a message's record beside its tag and its body.
const BESIDE_BYTES: u64 = 32;

impl Walk {
    /// The walk of a receive with this answer, or what it should have given.
    pub(super) fn of(ledger: &Ledger, index: LogIndex, receive: &Receive, received: &Received) -> Result<Walk, String> {
        assert!(!received.more, "no run has more than one receive looks at");
        let key = |pick: &Pick| Walker::key_of(receive, pick.queue, pick.offset.0);
        let hidden = |pick: &Pick| ledger.deliveries.get(&key(pick)).is_some_and(|of| of.stand == Stand::Hidden);
        if received.picks.iter().any(hidden) {
            // The answer to an earlier attempt.
            return Ok(Walk::default());
        }
        let none = Progress::default();
        let walker = Walker {
            ledger,
            receive,
            progress: ledger.progress.get(&(receive.topic, receive.group)).unwrap_or(&none),
            fifo: ledger.groups[&receive.group].fifo,
            picked: received.picks.iter().map(key).collect(),
            bytes: received.picks.iter().map(|pick| u64::from(pick.position.length)).sum(),
        };
        let mut walk = Walk::default();
        walker.pass_waiting(received, &mut walk)?;
        if walker.comes_to_fresh()? {
            walker.pass_fresh(index, &mut walk)?;
        }
        Ok(walk)
    }
}

struct Walker<'a> {
    ledger: &'a Ledger,
    receive: &'a Receive,
    progress: &'a Progress,
    fifo: bool,
    picked: BTreeSet<DeliveryKey>,
    /// Of all picks.
    bytes: u64,
}

impl Walker<'_> {
    fn key_of(receive: &Receive, queue: QueueId, offset: u64) -> DeliveryKey {
        DeliveryKey { topic: receive.topic, group: receive.group, queue, offset }
    }

    fn key(&self, queue: QueueId, offset: u64) -> DeliveryKey {
        Walker::key_of(self.receive, queue, offset)
    }

    fn is_full(&self) -> bool {
        self.picked.len() >= usize::from(self.receive.messages_max)
    }

    fn asks_for(&self, queue: QueueId) -> bool {
        self.receive.queue.is_none_or(|only| only == queue)
    }

    fn wants(&self, key: DeliveryKey) -> bool {
        match &self.receive.filter {
            TagFilter::All => true,
            TagFilter::Tags(tags) => self.ledger.message(key).is_some_and(|of| tags.contains(of.message.tag)),
        }
    }

    /// Whether a message would have fitted beside all picks.
    fn fits(&self, key: DeliveryKey) -> bool {
        let of = &self.ledger.message(key).expect("a message that is there").message;
        let length = BESIDE_BYTES + (of.tag.len() + of.body.len()) as u64;
        self.picked.is_empty() || self.bytes + length <= u64::from(self.receive.bytes_max)
    }

    /// How many picks are fresh.
    fn fresh(&self) -> usize {
        self.picked.iter().filter(|key| self.ledger.standing(**key) == Standing::Fresh).count()
    }

    /// What waited: what lies before a pick of its message group is passed with it.
    fn pass_waiting(&self, received: &Received, walk: &mut Walk) -> Result<(), String> {
        for pick in &received.picks {
            let key = self.key(pick.queue, pick.offset.0);
            match self.ledger.standing(key) {
                Standing::Waits(lane) => {
                    let before = self.progress.waiting().filter(|(of, offset)| *of == lane && *offset < key.offset);
                    for (_, offset) in before {
                        let passed = self.key(lane.0, offset);
                        let there = matches!(self.ledger.standing(passed), Standing::Waits(_));
                        if there && self.wants(passed) && !self.picked.contains(&passed) {
                            return Err(format!("{passed:?}, which waits, is passed over by {}", key.offset));
                        }
                    }
                    walk.popped.push((lane, key.offset + 1));
                }
                Standing::Done => return Err(format!("{key:?} was done with, and is delivered")),
                Standing::Gone => return Err(format!("{key:?} has expired, and is delivered")),
                Standing::Fresh | Standing::Taken => {}
            }
        }
        Ok(())
    }

    /// Lanes of which something is with a consumer or about to be a dead letter.
    fn blocked(&self) -> BTreeSet<Lane> {
        let open = self.ledger.deliveries.open_of(self.receive.topic, self.receive.group);
        let blocking = open.filter(|(_, of)| self.fifo && of.blocks());
        blocking.filter_map(|(key, _)| self.ledger.lane_of(key)).collect()
    }

    /// What was passed before and could be given now.
    fn again(&self) -> Vec<DeliveryKey> {
        let blocked = self.blocked();
        let due = |(_, of): &(DeliveryKey, &Delivery)| of.stand == Stand::Due;
        let due = self.ledger.deliveries.open_of(self.receive.topic, self.receive.group).filter(due);
        let due = due.filter(|(key, of)| of.attempt > 0 || self.wants(*key)).map(|(key, _)| key);
        let waits = self.progress.waiting().map(|(lane, offset)| self.key(lane.0, offset));
        let waits = waits.filter(|key| matches!(self.ledger.standing(*key), Standing::Waits(_)) && self.wants(*key));
        let open = |key: &DeliveryKey| self.ledger.lane_of(*key).is_none_or(|lane| !blocked.contains(&lane));
        due.chain(waits).filter(|key| self.asks_for(key.queue) && open(key)).collect()
    }

    /// Whether it came so far that it looked at what is fresh: it had room left.
    fn comes_to_fresh(&self) -> Result<bool, String> {
        let fresh = self.fresh();
        if self.is_full() && fresh == 0 {
            return Ok(false);
        }
        let left: Vec<_> = self.again().into_iter().filter(|key| !self.picked.contains(key)).collect();
        match left.first() {
            None => Ok(true),
            // It was closed by one that did not fit.
            Some(_) if fresh == 0 && left.iter().any(|key| !self.fits(*key)) => Ok(false),
            Some(key) => Err(format!("{key:?} was left out: {:?}", self.ledger.deliveries.get(key))),
        }
    }

    /// Lanes of which something is left that is not given with this: later messages have to wait.
    fn held_lanes(&self) -> BTreeSet<Lane> {
        let open = self.ledger.deliveries.open_of(self.receive.topic, self.receive.group).map(|(key, _)| key);
        let waits = self.progress.waiting().map(|(lane, offset)| self.key(lane.0, offset));
        let waits = waits.filter(|key| matches!(self.ledger.standing(*key), Standing::Waits(_)));
        let left = open.chain(waits).filter(|key| self.fifo && !self.picked.contains(key));
        left.filter_map(|key| self.ledger.lane_of(key)).collect()
    }

    fn pass_fresh(&self, index: LogIndex, walk: &mut Walk) -> Result<(), String> {
        let held = self.held_lanes();
        let mut left = self.fresh();
        let queues = self.ledger.queues(self.receive.topic);
        let first = u32::try_from(index.0 % u64::from(queues)).expect("below the number of queues");
        for queue in (0..queues).map(|at| QueueId((first + at) % queues)).filter(|queue| self.asks_for(*queue)) {
            let mut taken = self.progress.taken(queue);
            let mut closed = false;
            while taken < self.ledger.end_of(self.receive.topic, queue) && !(self.is_full() && left == 0) && !closed {
                let key = self.key(queue, taken);
                let lane = self.ledger.lane_of(key).filter(|_| self.fifo);
                if self.picked.contains(&key) {
                    left -= 1;
                } else if self.ledger.standing(key) != Standing::Fresh || !self.wants(key) {
                    // It has expired, or is not wanted.
                } else if let Some(lane) = lane.filter(|lane| held.contains(lane)) {
                    walk.held.push((lane, taken));
                } else if self.fits(key) {
                    return Err(format!("{key:?} is fresh and was passed over or left out"));
                } else {
                    closed = true;
                    continue;
                }
                taken += 1;
            }
            walk.taken.push((queue, taken));
            if closed || self.is_full() && left == 0 {
                break;
            }
        }
        if left == 0 { Ok(()) } else { Err(format!("{left} fresh messages were given from behind where it was full")) }
    }
}
