//! Leases: what clients hold with renewal is hidden as long as their client lives, by one record for each client instead of a
//! deadline for each delivery.
//!
//! ```text
//!   first delivery ─► lease ─► renewed while the client lives ─► its deadline passes: ended, for ever
//!                                                                      └─► its deliveries end, some with each tick
//! ```
//! A client that comes back begins another lease; until a tick has come to one of its earlier deliveries, that is acknowledged as
//! always (state-hazards 12). A delivery on a lease has a deadline of its own as well, hours later, beyond which nothing keeps
//! it. What the client itself changes the time of leaves the lease.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BufMut;
use raft_log::types::{LogIndex, UnixMillis};

use crate::model::ClientKey;
use crate::state::changes::Changes;
use crate::state::codec::{DecodeError, Reader};
use crate::state::keys;

/// A lease: its client, and the entry with which it began, which tells it from the client's earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeaseId {
    pub(crate) client: ClientKey,
    pub(crate) begun: LogIndex,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lease {
    begun: LogIndex,
    deadline: UnixMillis,
}

/// The leases that have not ended. Invariant: each stands once in `ends`.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    living: BTreeMap<ClientKey, Lease>,
    ends: BTreeSet<(UnixMillis, ClientKey)>,
}

impl Leases {
    /// The client's lease.
    pub(crate) fn of(&self, client: ClientKey) -> Option<LeaseId> {
        self.living.get(&client).map(|lease| LeaseId { client, begun: lease.begun })
    }

    pub(crate) fn deadline(&self, client: ClientKey) -> Option<UnixMillis> {
        self.living.get(&client).map(|lease| lease.deadline)
    }

    /// Begins a lease, or sets the deadline of the one that there is.
    pub(crate) fn set(&mut self, lease: LeaseId, deadline: UnixMillis, changes: &mut Changes) {
        let mut record = Vec::with_capacity(16);
        record.put_u64_le(lease.begun.0);
        record.put_u64_le(deadline.0);
        changes.put(keys::lease(lease.client), &record);
        self.put(lease, deadline);
    }

    fn put(&mut self, LeaseId { client, begun }: LeaseId, deadline: UnixMillis) {
        let before = self.living.insert(client, Lease { begun, deadline });
        if let Some(before) = before {
            assert_eq!(before.begun, begun, "a client has one lease");
            self.ends.remove(&(before.deadline, client));
        }
        self.ends.insert((deadline, client));
    }

    pub(crate) fn load(&mut self, client: ClientKey, record: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new("lease", record);
        let (begun, deadline) = (LogIndex(reader.u64()?), UnixMillis(reader.u64()?));
        reader.finish()?;
        self.put(LeaseId { client, begun }, deadline);
        Ok(())
    }

    /// Ends a lease whose deadline is at or before `clock`, if there is one.
    pub(crate) fn end(&mut self, clock: UnixMillis, changes: &mut Changes) -> Option<LeaseId> {
        let (deadline, client) = *self.ends.first()?;
        if deadline > clock {
            return None;
        }
        let lease = self.of(client).expect("what ends is living");
        self.remove(client, changes);
        Some(lease)
    }

    /// Takes a lease away.
    pub(crate) fn remove(&mut self, client: ClientKey, changes: &mut Changes) {
        let lease = self.living.remove(&client).expect("the caller looked it up");
        self.ends.remove(&(lease.deadline, client));
        changes.delete(keys::lease(client));
    }

    /// When a lease ends next.
    pub(crate) fn next_end(&self) -> Option<UnixMillis> {
        self.ends.first().map(|(deadline, _)| *deadline)
    }

    /// Clients whose leases end before `before`, at most `count`.
    pub(crate) fn ending(&self, before: UnixMillis, count: usize) -> Vec<ClientKey> {
        let ending = self.ends.iter().take_while(|(deadline, _)| *deadline < before);
        ending.take(count).map(|(_, client)| *client).collect()
    }
}
