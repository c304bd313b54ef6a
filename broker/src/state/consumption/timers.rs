//! What happens when: one deadline for each hidden message, over all groups.

use std::collections::BTreeSet;

use raft_log::types::{LogIndex, UnixMillis};

use super::leases::{LeaseId, Leases};
use super::pending::{DeliveryKey, Pending, Phase};
use super::runs::Runs;
use crate::model::ClientKey;
use crate::state::planted::{self, Bug};

/// Messages that all groups together have taken and not finished: beyond, nothing fresh is taken. Some hundred bytes of memory each.
pub(crate) const PENDING_MAX: usize = if cfg!(test) { 10_000 } else { 1 << 21 };
/// When so many fewer are pending, whoever waits looks again.
const ROOM: usize = if cfg!(test) { 10 } else { 1024 };

/// Deadlines of hidden messages, and what has no attempts left. Follows the phases of the subscriptions' messages.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    deadlines: Runs<UnixMillis>,
    exhausted: BTreeSet<DeliveryKey>,
    by_lease: Runs<LeaseId>,
    /// Leases that have ended and have deliveries left.
    ended: BTreeSet<LeaseId>,
    /// Messages that are pending, of all groups.
    pending: usize,
    /// They were at the bound, and nobody was told since that there is room again.
    was_full: bool,
}

impl Timers {
    pub(super) fn list(&mut self, key: DeliveryKey, pending: &Pending) {
        self.pending += 1;
        self.was_full |= self.is_full();
        let new = match pending.phase {
            Phase::Hidden => {
                if let Some(lease) = pending.lease {
                    self.by_lease.insert(lease, key);
                }
                self.deadlines.insert(pending.deadline, key)
            }
            Phase::Exhausted => self.exhausted.insert(key),
            Phase::Waiting | Phase::Due => true,
        };
        assert!(new, "a message has one timer");
    }

    pub(super) fn unlist(&mut self, key: DeliveryKey, pending: &Pending) {
        self.pending -= 1;
        let there = match pending.phase {
            Phase::Hidden => {
                if let Some(lease) = pending.lease {
                    self.by_lease.remove(lease, key);
                    if self.on_lease(lease).is_none() {
                        self.ended.remove(&lease);
                    }
                }
                self.deadlines.remove(pending.deadline, key)
            }
            Phase::Exhausted => self.exhausted.remove(&key),
            Phase::Waiting | Phase::Due => true,
        };
        assert!(there, "a hidden or exhausted message has a timer");
    }

    /// A hidden message whose time is over: the one whose deadline passed first, or else one of a lease that has ended.
    pub(crate) fn expired(&self, clock: UnixMillis) -> Option<DeliveryKey> {
        let passed = self.deadlines.first().filter(|(deadline, _)| *deadline <= clock).map(|(_, key)| key);
        passed.or_else(|| self.ended.first().and_then(|lease| self.on_lease(*lease)))
    }

    /// Whether nothing fresh may be taken by anybody.
    pub(crate) fn is_full(&self) -> bool {
        self.pending >= PENDING_MAX
    }

    /// Whether there is room again, of which nobody knows who waits for it: once after the bound was met.
    pub(crate) fn take_room_again(&mut self) -> bool {
        let again = self.was_full && self.pending <= PENDING_MAX - ROOM;
        self.was_full &= !again;
        again
    }

    /// How many messages are pending.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// A message that is to be dead-lettered.
    pub(crate) fn exhausted(&self) -> Option<DeliveryKey> {
        self.exhausted.first().copied()
    }

    pub(crate) fn is_exhausted(&self, key: DeliveryKey) -> bool {
        self.exhausted.contains(&key)
    }

    /// When there is work: at the first deadline, or at once while something is left over.
    pub(crate) fn next_due(&self, clock: UnixMillis) -> Option<UnixMillis> {
        let left_over = !self.exhausted.is_empty() || !self.ended.is_empty();
        if left_over { Some(clock) } else { self.deadlines.first().map(|(deadline, _)| deadline) }
    }

    /// Something on a lease.
    pub(crate) fn on_lease(&self, lease: LeaseId) -> Option<DeliveryKey> {
        self.by_lease.first_from(lease).filter(|(of, _)| *of == lease).map(|(_, key)| key)
    }

    /// What is on the lease is over.
    pub(crate) fn end_lease(&mut self, lease: LeaseId) {
        if self.on_lease(lease).is_some() && !planted::is(Bug::LeaseEndsNothing) {
            self.ended.insert(lease);
        }
    }

    /// All leases on which there is something, of which only `leases` have not ended.
    pub(crate) fn load_ended(&mut self, leases: &Leases) {
        let mut from = LeaseId { client: ClientKey::NONE, begun: LogIndex(0) };
        while let Some((lease, _)) = self.by_lease.first_from(from) {
            if leases.of(lease.client) != Some(lease) {
                self.ended.insert(lease);
            }
            from = LeaseId { begun: lease.begun.next(), ..lease };
        }
    }
}
