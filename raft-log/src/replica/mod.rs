//! The public face of a replica: open, propose, read, status, leadership, shutdown.

mod error;
mod options;
mod status;

pub use error::{BootstrapError, Leader, OpenError, ProposeError, ReadError, TransferError};
pub use options::{ElectionOptions, PeerListen, ReplicaOptions};
pub use status::{Health, Member, Role, Status};

use bytes::Bytes;
use tokio::sync::watch;

use crate::env::Env;
use crate::state_machine::StateMachine;
use crate::storage::Record;
use crate::types::{ClusterId, LogId, LogIndex, NodeId};

/// A stored proposal: where it stands and what the state machine answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// The entry's term and index.
    pub id: LogId,
    /// The state machine's response.
    pub response: Bytes,
}

/// One node of a group; cheap to clone, all clones are the same replica.
#[derive(Clone, Debug)]
pub struct Replica {
    status: watch::Receiver<Status>,
}

impl Replica {
    /// Opens the data folder, recovers the log, replays the state machine and starts to take part in the group.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing is changed in a folder that belongs to another node, group or format.
    pub async fn open(_options: ReplicaOptions, _env: Env, _state: impl StateMachine) -> Result<Replica, OpenError> {
        Err(OpenError::Raft("not built yet".to_owned()))
    }

    /// Forms a group of these voters (id and peer address), this node among them; once for a group's life (hazards 27).
    ///
    /// # Errors
    /// See [`BootstrapError`]. An interrupted bootstrap can be repeated with the same voters.
    pub async fn bootstrap(&self, _voters: Vec<(NodeId, String)>) -> Result<ClusterId, BootstrapError> {
        Err(BootstrapError::Stopped("not built yet".to_owned()))
    }

    /// Appends a payload of `count` messages and answers once a majority holds it and it is applied here.
    ///
    /// # Errors
    /// See [`ProposeError`]; only [`ProposeError::Unknown`] may be stored.
    pub async fn propose(&self, _payload: Bytes, _count: u32) -> Result<Proposed, ProposeError> {
        Err(ProposeError::NotLeader { leader: None })
    }

    /// The status now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The status and its changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// An index such that a state which has applied it shows everything that was acknowledged before this call;
    /// returns once this node has applied it.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] elsewhere than on the leader; [`ProposeError::Unknown`] when no majority answers.
    pub async fn read_index(&self) -> Result<LogIndex, ProposeError> {
        Err(ProposeError::NotLeader { leader: None })
    }

    /// Applied entries from `from` until before `until`: at least one when there is any, else up to `bytes_max`.
    ///
    /// # Errors
    /// See [`ReadError`]. May read from disk: call it where blocking is allowed when the entries are old.
    pub fn read(&self, _from: LogIndex, until: LogIndex, _bytes_max: usize) -> Result<Vec<Record>, ReadError> {
        Err(ReadError::NotApplied { until, applied: None })
    }

    /// Hands leadership to `to`, or to the voter that is furthest along.
    ///
    /// # Errors
    /// See [`TransferError`]; this node goes on leading then.
    pub async fn transfer_leadership(&self, _to: Option<NodeId>) -> Result<(), TransferError> {
        Err(TransferError::NotLeader { leader: None })
    }

    /// Stops this replica: hands leadership over when it leads, flushes, ends its threads. Later calls do nothing.
    pub async fn shutdown(&self) {}

    /// The error that stopped this node, once there is one; a process should then end with it.
    #[must_use]
    pub fn failed(&self) -> Option<String> {
        match &self.status.borrow().health {
            Health::Failed { reason } => Some(reason.clone()),
            Health::Healthy | Health::WipedVoter { .. } => None,
        }
    }
}
