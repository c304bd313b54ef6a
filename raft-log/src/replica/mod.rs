//! The public face of a replica: open, bootstrap, propose, read, status, leadership, shutdown.

mod disk_watch;
mod doubt;
mod error;
mod inner;
pub(crate) mod leadership;
mod members;
#[cfg(tercet_sim)]
mod observed;
mod older_copies;
mod open;
mod options;
mod propose;
mod read_point;
mod repair;
mod stamps;
mod status;
mod status_task;
mod step_down;
mod thread;
mod unfinished;

#[cfg(test)]
mod tests;

pub use error::{BootstrapError, ChangeError, Leader, OpenError, ProposeError, ReadError, TransferError};
#[cfg(tercet_sim)]
pub use observed::Standing;
pub use options::{ElectionOptions, PeerListen, RELEASE_AHEAD_PERCENT, ReplicaOptions, RetentionOptions};
pub use propose::Proposed;
pub use status::{Health, Member, Role, Status};

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::env::Env;
use crate::exec;
use crate::identity::Identity;
use crate::membership::NodeAddresses;
use crate::raft::bootstrap;
use crate::replica::inner::Inner;
use crate::state_machine::StateMachine;
use crate::storage::{Record, StorageStats};
use crate::types::{ClusterId, GroupId, LogIndex, NodeId, UnixMillis};

/// One node of a group; cheap to clone, all clones are the same replica.
///
/// Dropping the last clone without [`shutdown`](Replica::shutdown) ends the node at once, as a crash would: what it
/// acknowledged is safe, but the group waits for an election timeout if it led.
#[derive(Clone)]
pub struct Replica {
    pub(crate) inner: Arc<Inner>,
}

impl Replica {
    /// Opens the data folder, recovers the log, fits the state machine to it and starts to take part in the group.
    /// Entries behind the state's applied point are applied again as soon as a leader says what is committed.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing is changed in a folder that belongs to another node, group or format.
    pub async fn open(options: ReplicaOptions, env: Env, state: impl StateMachine) -> Result<Replica, OpenError> {
        let inner = open::open(options, env, Box::new(state)).await?;
        Ok(Replica { inner: Arc::new(inner) })
    }

    /// Whether a data folder, if it is there, belongs to this node and group and has a known format. Changes nothing;
    /// for callers that open files of their own in it before the replica.
    ///
    /// # Errors
    /// [`OpenError::Identity`].
    pub fn check_folder(env: &Env, dir: &Path, node_id: NodeId, group: GroupId) -> Result<(), OpenError> {
        Ok(Identity::check(env, dir, node_id, group)?)
    }

    /// Forms a group of these voters (id and peer address), this node among them; once for a group's life (hazards 27).
    ///
    /// # Errors
    /// See [`BootstrapError`]. An interrupted bootstrap can be repeated with the same voters.
    pub async fn bootstrap(&self, voters: Vec<(NodeId, String)>) -> Result<ClusterId, BootstrapError> {
        bootstrap::bootstrap(&self.inner.peers, &self.inner.raft, &self.inner.env, voters).await
    }

    /// Appends a payload of `count` messages and answers once a majority holds it and it is applied here. While disks are
    /// nearly full, only payloads without messages are taken ([`ProposeError::DiskFull`]).
    ///
    /// # Errors
    /// See [`ProposeError`]; only [`ProposeError::Unknown`] may be stored.
    pub async fn propose(&self, payload: Bytes, count: u32) -> Result<Proposed, ProposeError> {
        self.inner.propose(payload, count).await
    }

    /// The time to stamp on a proposal: what the clocks of the group's members agree on, at least `floor`, which is the
    /// greatest stamp in the caller's state. Within a leadership it advances by the monotonic clock, and it is not moved
    /// by a single wrong clock, this node's own included (hazards 19).
    ///
    /// Means something on a leader that serves; elsewhere it is a guess.
    #[must_use]
    pub fn stamp(&self, floor: UnixMillis) -> UnixMillis {
        let (term, serving) = {
            let standing = self.inner.standing.borrow();
            (standing.term, standing.serving)
        };
        let peers = &self.inner.peers;
        let read = || peers.clocks.read(&peers.voters());
        if serving { self.inner.stamps.now(term, floor, read) } else { self.inner.stamps.guess(floor, &read()) }
    }

    /// The members because of whose nearly full disks publishes are refused now (hazards 9); none on a node that does not
    /// lead, unless its own disk is.
    #[must_use]
    pub fn full_members(&self) -> Vec<NodeId> {
        self.inner.full_members()
    }

    /// The status now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.inner.status.borrow().clone()
    }

    /// The status and all its changes. Under load that is hundreds of wake-ups a second: who waits for a role, a leader
    /// or a failure uses [`watch_standing`](Self::watch_standing).
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.inner.status.subscribe()
    }

    /// The changes of role, term, leader, members, health and whether it serves. The positions in these snapshots are
    /// those of the moment of such a change; current ones are in [`status`](Self::status).
    #[must_use]
    pub fn watch_standing(&self) -> watch::Receiver<Status> {
        self.inner.standing.subscribe()
    }

    /// Counters of the log's I/O.
    #[must_use]
    pub fn storage_stats(&self) -> StorageStats {
        self.inner.log.stats()
    }

    /// An index such that a state which has applied it shows everything that was acknowledged before this call;
    /// returns once this node has applied it.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] elsewhere than on the leader; [`ProposeError::Unknown`] when no majority answers.
    pub async fn read_index(&self) -> Result<LogIndex, ProposeError> {
        self.inner.read_index().await
    }

    /// Applied entries from `from` until before `until`: at least one when there is any, else up to `bytes_max` of
    /// payload. Ends at the last applied entry, which is committed.
    ///
    /// # Errors
    /// See [`ReadError`]. May read from disk: [`fetch`](Self::fetch) is for where blocking is not allowed.
    pub fn read(&self, from: LogIndex, until: LogIndex, bytes_max: usize) -> Result<Vec<Record>, ReadError> {
        let end = self.inner.readable_end(from)?;
        Ok(self.inner.log.read(from, until.min(end), bytes_max)?)
    }

    /// [`read`](Self::read) for tasks: the newest entries at once from memory, older ones from disk on the pool for
    /// blocking work, so that a reader of a backlog delays nobody else on the runtime.
    ///
    /// # Errors
    /// See [`ReadError`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn fetch(&self, from: LogIndex, until: LogIndex, bytes_max: usize) -> Result<Vec<Record>, ReadError> {
        let end = self.inner.readable_end(from)?;
        Ok(self.inner.log.fetch(from, until.min(end), bytes_max).await?)
    }

    /// Hands leadership to `to`, or to the voter that is furthest along.
    ///
    /// # Errors
    /// See [`TransferError`]; this node goes on leading then, except after [`TransferError::TimedOut`], when the group
    /// elects a leader.
    pub async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<(), TransferError> {
        self.inner.leadership.transfer(to).await
    }

    /// Takes an empty node into the group as a learner: it gets the log and has no vote. `address` is its peer address.
    ///
    /// # Errors
    /// See [`ChangeError`]; at the leader only. Repeating it is safe, as with all changes of members.
    pub async fn add_learner(&self, node: NodeId, address: String) -> Result<(), ChangeError> {
        self.inner.add_learner(node, address).await
    }

    /// Gives a learner that is caught up a vote.
    ///
    /// # Errors
    /// See [`ChangeError`]; at the leader only.
    pub async fn promote(&self, node: NodeId) -> Result<(), ChangeError> {
        self.inner.promote(node).await
    }

    /// Takes a voter's vote; it stays as a learner.
    ///
    /// # Errors
    /// See [`ChangeError`]; at the leader only, and not of itself.
    pub async fn demote(&self, node: NodeId) -> Result<(), ChangeError> {
        self.inner.demote(node).await
    }

    /// Removes a member; its id is never used again.
    ///
    /// # Errors
    /// See [`ChangeError`]; at the leader only, and not of itself.
    pub async fn remove(&self, node: NodeId) -> Result<(), ChangeError> {
        self.inner.remove(node).await
    }

    /// Gives the vote of `old` to the learner `new` and removes `old`, in one change: the number of voters stays.
    ///
    /// # Errors
    /// See [`ChangeError`]; at the leader only, which cannot be `old`.
    pub async fn swap(&self, old: NodeId, new: NodeId) -> Result<(), ChangeError> {
        self.inner.swap(old, new).await
    }

    /// Changes where a member can be reached (hazards 28).
    ///
    /// # Errors
    /// See [`ChangeError`]; at the leader only.
    pub async fn set_addresses(&self, node: NodeId, addresses: NodeAddresses) -> Result<(), ChangeError> {
        self.inner.set_addresses(node, addresses).await
    }

    /// Stops this replica: hands leadership over when it leads, flushes, ends its threads. Later calls do nothing.
    pub async fn shutdown(&self) {
        let leads = self.status().role == Role::Leader;
        if leads && let Err(error) = self.inner.leadership.transfer(None).await {
            tracing::info!(%error, "stopping without handing leadership over");
        }
        // The core may have stopped by itself; what follows is the same.
        drop(self.inner.raft.shutdown().await);
        let inner = self.inner.clone();
        let finished = exec::blocking(move || inner.finish(true)).await;
        assert!(finished.is_ok(), "stopping does not panic");
    }

    /// The error that stopped this node, once there is one; a process should then end with it.
    #[must_use]
    pub fn failed(&self) -> Option<String> {
        match &self.inner.status.borrow().health {
            Health::Failed { reason } => Some(reason.clone()),
            Health::Healthy | Health::WipedVoter { .. } | Health::Damaged { .. } => None,
        }
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("status", &*self.inner.status.borrow()).finish_non_exhaustive()
    }
}
