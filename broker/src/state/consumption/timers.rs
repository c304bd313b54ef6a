//! What happens when: one deadline for each hidden message, over all groups.

use std::collections::BTreeSet;

use raft_log::types::UnixMillis;

use super::pending::{DeliveryKey, Pending, Phase};
use crate::model::ClientKey;

/// Deadlines of hidden messages, and what has no attempts left. Follows the phases of the subscriptions' messages.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    deadlines: BTreeSet<(UnixMillis, DeliveryKey)>,
    exhausted: BTreeSet<DeliveryKey>,
    by_client: BTreeSet<(ClientKey, DeliveryKey)>,
    renewals: BTreeSet<(UnixMillis, ClientKey, DeliveryKey)>,
}

impl Timers {
    pub(super) fn list(&mut self, key: DeliveryKey, pending: &Pending) {
        let new = match pending.phase {
            Phase::Hidden => {
                if !pending.renew.is_none() {
                    self.by_client.insert((pending.renew, key));
                    self.renewals.insert((pending.deadline, pending.renew, key));
                }
                self.deadlines.insert((pending.deadline, key))
            }
            Phase::Exhausted => self.exhausted.insert(key),
            Phase::Waiting | Phase::Due => true,
        };
        assert!(new, "a message has one timer");
    }

    pub(super) fn unlist(&mut self, key: DeliveryKey, pending: &Pending) {
        let there = match pending.phase {
            Phase::Hidden => {
                if !pending.renew.is_none() {
                    self.by_client.remove(&(pending.renew, key));
                    self.renewals.remove(&(pending.deadline, pending.renew, key));
                }
                self.deadlines.remove(&(pending.deadline, key))
            }
            Phase::Exhausted => self.exhausted.remove(&key),
            Phase::Waiting | Phase::Due => true,
        };
        assert!(there, "a hidden or exhausted message has a timer");
    }

    /// The first hidden message whose deadline is at or before `clock`.
    pub(crate) fn expired(&self, clock: UnixMillis) -> Option<DeliveryKey> {
        let (deadline, key) = self.deadlines.first()?;
        (*deadline <= clock).then_some(*key)
    }

    /// A message that is to be dead-lettered.
    pub(crate) fn exhausted(&self) -> Option<DeliveryKey> {
        self.exhausted.first().copied()
    }

    pub(crate) fn is_exhausted(&self, key: DeliveryKey) -> bool {
        self.exhausted.contains(&key)
    }

    /// When there is work: at the first deadline, or at once while exhausted messages are left over.
    pub(crate) fn next_due(&self, clock: UnixMillis) -> Option<UnixMillis> {
        if self.exhausted.is_empty() { self.deadlines.first().map(|(deadline, _)| *deadline) } else { Some(clock) }
    }

    /// What a client holds and wants renewed, at most `count` messages.
    pub(crate) fn held_by(&self, client: ClientKey, count: usize) -> Vec<DeliveryKey> {
        let held = self.by_client.range((client, DeliveryKey::FIRST)..).take_while(|(holder, _)| *holder == client);
        held.map(|(_, key)| *key).take(count).collect()
    }

    /// Clients that hold a renewed message whose deadline is before `before`, among the first `count` deadlines.
    pub(crate) fn renewals_due(&self, before: UnixMillis, count: usize) -> BTreeSet<ClientKey> {
        let due = self.renewals.iter().take_while(|(deadline, ..)| *deadline < before);
        due.take(count).map(|(_, client, _)| *client).collect()
    }
}
