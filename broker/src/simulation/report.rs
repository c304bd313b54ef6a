//! What a run did, for who wants to know whether it did anything.

use std::collections::BTreeMap;

use super::deliveries::Stand;
use super::ledger::{Applied, Ledger};
use super::order::Order;
use super::progress::Walk;
use crate::model::{QueueId, TagFilter};
use crate::state::{Deleted, DeliveryKey, Holder, Outcome, Receive, Received, Settled, UpdateGroup};

/// Each kind of event that must have happened in some of a few dozen runs, else nothing is known of it.
pub(super) const KINDS: [&str; 36] = [
    "entries",
    "published",
    "repeats",
    "refused publishes",
    "first deliveries",
    "deliveries again",
    "attempts repeated",
    "received by a limit of bytes",
    "passed for order",
    "passed unwanted or expired",
    "acknowledged",
    "old handles",
    "hidden longer",
    "given back",
    "given up",
    "renewed",
    "goodbyes",
    "leases ended",
    "letters",
    "expired unread",
    "moved deliveries",
    "moved letters",
    "ended when moved",
    "trims that moved the start",
    "releases that moved the start",
    "sweeps",
    "sweeps of several steps",
    "topics deleted",
    "groups deleted",
    "idle groups deleted",
    "orders given up or kept from now on",
    "crashes",
    "elections",
    "lost states",
    "checkpoints from others",
    "purges",
];

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// The most steps for which the log was beyond its bound.
    pub(super) held_steps: u32,
    /// The rolling digest at the end: it tells two runs apart.
    pub(super) digest: u64,
}

impl Figures {
    pub(super) fn add(&mut self, kind: &'static str, count: u64) {
        assert!(KINDS.contains(&kind), "{kind} is not among the kinds");
        *self.counts.entry(kind).or_default() += count;
    }

    pub(super) fn add_all(&mut self, other: &Figures) {
        other.counts.iter().for_each(|(kind, count)| self.add(kind, *count));
        self.held_steps = self.held_steps.max(other.held_steps);
    }

    /// What never happened.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        KINDS.into_iter().filter(|kind| self.counts.get(kind).is_none_or(|count| *count == 0)).collect()
    }

    /// A command that was applied, and the ledger as it was before.
    pub(super) fn count(&mut self, ledger: &Ledger, applied: &Applied<'_>) {
        match (applied.order, applied.outcome) {
            (Order::Publish { .. }, Outcome::Stored(stored)) => {
                let repeated = stored.iter().filter(|at| at.repeated).count() as u64;
                self.add("repeats", repeated);
                self.add("published", stored.len() as u64 - repeated);
            }
            (Order::Publish { .. }, Outcome::PublishRefused(_)) => self.add("refused publishes", 1),
            (Order::Receive(receive), Outcome::Received(received)) => {
                self.count_receive(ledger, applied, receive, received)
            }
            (Order::Ack(_), Outcome::Acked(settled)) => {
                let done = settled.iter().filter(|settled| **settled == Settled::Done).count() as u64;
                self.add("acknowledged", done);
                self.add("old handles", settled.len() as u64 - done);
            }
            (Order::Change(change), Outcome::Changed(Ok(_))) => {
                self.add(if change.invisible_ms == 0 { "given back" } else { "hidden longer" }, 1);
            }
            (Order::GiveUp(_), Outcome::DeadLettered(Settled::Done)) => self.add("given up", 1),
            (Order::Renew(renew), Outcome::Renewed(renewed)) => {
                self.add(if renew.shorten { "goodbyes" } else { "renewed" }, u64::from(*renewed));
            }
            (Order::Trim(_), Outcome::Trimmed { start }) => {
                self.add("trims that moved the start", u64::from(*start > ledger.start));
            }
            (Order::Release(_), Outcome::Trimmed { start }) => {
                self.add("releases that moved the start", u64::from(*start > ledger.start));
            }
            (Order::Sweep, Outcome::Swept { more }) => {
                self.add("sweeps", 1);
                self.add("sweeps of several steps", u64::from(*more));
            }
            (Order::Relocate(bodies), Outcome::Relocated(_)) => {
                for body in bodies {
                    body.holders.iter().for_each(|holder| self.count_moved(ledger, holder));
                }
            }
            _ => self.count_names(ledger, applied),
        }
    }

    fn count_receive(&mut self, ledger: &Ledger, applied: &Applied<'_>, receive: &Receive, received: &Received) {
        for pick in &received.picks {
            let (topic, group) = (receive.topic, receive.group);
            let key = DeliveryKey { topic, group, queue: pick.queue, offset: pick.offset.0 };
            self.add(
                match ledger.deliveries.get(&key) {
                    Some(of) if of.stand == Stand::Hidden => "attempts repeated",
                    Some(of) if of.attempt > 0 => "deliveries again",
                    _ => "first deliveries",
                },
                1,
            );
        }
        let limited = receive.bytes_max < 1000 && received.picks.len() > 1;
        self.add("received by a limit of bytes", u64::from(limited));
        let walk = Walk::of(ledger, applied.index, receive, received).expect("a checker has seen it");
        self.add("passed for order", walk.held.len() as u64);
        let before =
            |queue: QueueId| ledger.progress.get(&(receive.topic, receive.group)).map_or(0, |of| of.taken(queue));
        let passed: u64 = walk.taken.iter().map(|(queue, taken)| taken - before(*queue)).sum();
        if passed > (received.picks.len() + walk.held.len()) as u64 || receive.filter != TagFilter::All {
            self.add(
                "passed unwanted or expired",
                passed.saturating_sub((received.picks.len() + walk.held.len()) as u64),
            );
        }
    }

    fn count_moved(&mut self, ledger: &Ledger, holder: &Holder) {
        match holder {
            Holder::Delivery(key) => match ledger.deliveries.get(key) {
                Some(of) if of.ends_when_moved() => self.add("ended when moved", 1),
                _ => self.add("moved deliveries", 1),
            },
            Holder::DeadLetter { .. } => self.add("moved letters", 1),
        }
    }

    fn count_names(&mut self, ledger: &Ledger, applied: &Applied<'_>) {
        match (applied.order, applied.outcome) {
            (Order::DeleteTopic(_), Outcome::Deleted(Deleted::Done)) => self.add("topics deleted", 1),
            (Order::DeleteGroup(_), Outcome::Deleted(Deleted::Done)) => self.add("groups deleted", 1),
            (Order::Keep(_), Outcome::GroupsKept { deleted }) => self.add("idle groups deleted", u64::from(*deleted)),
            (Order::UpdateGroup(UpdateGroup { name, .. }), Outcome::GroupUpdated(settings)) => {
                let mut before = ledger.groups.values().filter(|of| !of.gone && of.name == name.as_str());
                let changed = before.any(|of| of.fifo != settings.fifo);
                self.add("orders given up or kept from now on", u64::from(changed));
            }
            _ => {}
        }
    }
}

/// The command that runs a seed again.
pub(super) fn replay(seed: u64) -> String {
    format!("make broker-sim SEED={seed}")
}
