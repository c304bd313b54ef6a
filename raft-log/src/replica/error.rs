//! The errors of the public face. Each says whether something may have been stored and whether a retry can help.

use std::net::SocketAddr;

use crate::membership::NodeAddresses;
use crate::state_machine::ApplyError;
use crate::types::{ClusterId, LogId, LogIndex, NodeId};

/// The node that a refused caller should turn to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its id.
    pub id: NodeId,
    /// Its advertised addresses.
    pub addresses: NodeAddresses,
}

/// Why a proposal, or a linearizable read, got no answer from the log (hazards 15).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This node does not lead. Not stored. Retry at the leader, or here once one is known.
    #[error("this node does not lead the group{}", leader_hint(.leader.as_ref()))]
    NotLeader {
        /// The leader, when this node knows one.
        leader: Option<Leader>,
    },
    /// The bytes in flight are at their bound. Not stored. Retry later.
    #[error("{in_flight_bytes_max} bytes of proposals are in flight already")]
    Overloaded {
        /// The bound.
        in_flight_bytes_max: usize,
    },
    /// The disks of these members are nearly full, so that no majority could take more messages. Not stored. Entries without
    /// messages still pass. Retry once there is space again.
    #[error("the disks of nodes {nodes:?} are nearly full; make space there")]
    DiskFull {
        /// The members that are in the way.
        nodes: Vec<NodeId>,
    },
    /// The payload is larger than an entry may be. Not stored. A retry cannot help.
    #[error("a payload of {bytes} bytes is larger than an entry may be ({bytes_max})")]
    TooLarge {
        /// The payload's size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The outcome is unknown: the entry may be stored, now or later, or not. Only an idempotent retry is safe.
    #[error("the outcome is unknown: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
}

fn leader_hint(leader: Option<&Leader>) -> String {
    match leader {
        Some(leader) => format!(", node {} at {} does", leader.id, leader.addresses.client),
        None => ", and knows no leader".to_owned(),
    }
}

impl ProposeError {
    /// Whether nothing was stored, for certain.
    #[must_use]
    pub fn surely_not_stored(&self) -> bool {
        !matches!(self, ProposeError::Unknown { .. })
    }

    /// Whether the same call can succeed later or elsewhere. After [`ProposeError::Unknown`] it may double the entry.
    #[must_use]
    pub fn retry_can_help(&self) -> bool {
        !matches!(self, ProposeError::TooLarge { .. })
    }
}

/// Why a replica did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings contradict each other. A retry cannot help.
    #[error("bad replica options: {0}")]
    Options(String),
    /// The data folder belongs to another node, group or format. A retry cannot help.
    #[error(transparent)]
    Identity(#[from] crate::identity::IdentityError),
    /// The log did not open.
    #[error(transparent)]
    Storage(#[from] crate::storage::OpenError),
    /// The peer port could not be bound.
    #[error("cannot listen for peers on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The state does not fit the log, whose start is purged, and no kept checkpoint can replace it (hazards 1). Wipe the
    /// folder and let the node join the group under a fresh id.
    #[error(
        "the state (applied {applied:?}) does not fit the log, the log is purged up to {purged}, and no checkpoint from \
         there on is whole; wipe the folder and add the node to the group under a fresh id"
    )]
    StateLost {
        /// What the state has applied.
        applied: Option<LogId>,
        /// The last entry that was purged.
        purged: LogId,
    },
    /// The folder of the checkpoints could not be read or changed.
    #[error("the checkpoints: {0}")]
    Checkpoint(String),
    /// The state machine refused to be reset or to replay.
    #[error(transparent)]
    StateMachine(#[from] ApplyError),
    /// The consensus core did not start.
    #[error("the raft core did not start: {0}")]
    Raft(String),
}

/// Why a group was not bootstrapped. After any of these, the same call may be repeated once the cause is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// The list of voters cannot form a group.
    #[error("bad list of voters: {0}")]
    Voters(String),
    /// A voter did not answer.
    #[error("voter {node} at {address} did not answer: {reason}")]
    Unreachable {
        /// The voter.
        node: NodeId,
        /// Where it was asked.
        address: String,
        /// What failed.
        reason: String,
    },
    /// Another node or another group answered at a voter's address.
    #[error("at {address}, node {node} was expected: {reason}")]
    WrongPeer {
        /// The voter.
        node: NodeId,
        /// Where it was asked.
        address: String,
        /// Who answered.
        reason: String,
    },
    /// A voter holds data already: bootstrapping would make a second history.
    #[error("voter {node} is not empty{}", cluster_hint(*.cluster))]
    NotEmpty {
        /// The voter.
        node: NodeId,
        /// The cluster it belongs to.
        cluster: Option<ClusterId>,
    },
    /// A voter is claimed by a bootstrap with another list of voters or addresses. Wipe the empty folders to begin anew.
    #[error("voter {node} is claimed for cluster {claimed} with other voters or addresses")]
    Claimed {
        /// The voter.
        node: NodeId,
        /// The cluster that claimed it.
        claimed: ClusterId,
    },
    /// The node stopped.
    #[error("the replica stopped: {0}")]
    Stopped(String),
}

fn cluster_hint(cluster: Option<ClusterId>) -> String {
    cluster.map(|cluster| format!(" (cluster {cluster})")).unwrap_or_default()
}

/// Why committed entries could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The first entry asked for is not applied here yet. Retry later.
    #[error("entry {from} is not applied yet (applied: {applied:?})")]
    NotApplied {
        /// The first entry asked for.
        from: LogIndex,
        /// What is applied.
        applied: Option<LogIndex>,
    },
    /// The log could not serve it: purged, corrupt or unreadable.
    #[error(transparent)]
    Log(#[from] crate::storage::ReadError),
}

/// Why leadership was not handed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// This node does not lead.
    #[error("this node does not lead the group{}", leader_hint(.leader.as_ref()))]
    NotLeader {
        /// The leader, when this node knows one.
        leader: Option<Leader>,
    },
    /// The chosen node does not vote in this group, or is this very node.
    #[error("node {0} cannot take over: it is no other voter of the group")]
    NotAVoter(NodeId),
    /// No other voter is live and caught up.
    #[error("no live voter holds the whole log: {0}")]
    NoCandidate(String),
    /// The target did not take over in time; this node goes on.
    #[error("the leadership was not taken over within {0:?}")]
    TimedOut(std::time::Duration),
    /// The node stopped.
    #[error("the replica stopped: {0}")]
    Stopped(String),
}
