//! The errors of the public face. Each says whether something may have been stored and whether a retry can help.

use std::net::SocketAddr;
use std::time::Duration;

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
    #[error("{0}{remedy}", remedy = .0.remedy())]
    Storage(#[from] crate::storage::OpenError),
    /// The log is damaged, and the peers cannot help. Start again if a peer that holds the range was down; else the node
    /// must join under a fresh id, because its vote counted on what is lost (hazards 2).
    #[error(
        "{damage}; it cannot be repaired from the peers: {reason}. If a member that holds it is down, start that first; \
         else remove node {node} from the group and let it join under a fresh id with an empty folder"
    )]
    NotRepairable {
        /// What recovery found.
        damage: String,
        /// Why no peer can help.
        reason: String,
        /// This node.
        node: NodeId,
    },
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
    /// A node is not where it says that others find it, or not for all of them. Nothing was written. Correct its advertised
    /// address and restart it.
    #[error(
        "node {node} advertises {address} as its {port} address, and node {by} does not reach it there: {reason}; correct \
         advertise.{port} (or listen.{port}) of node {node}, restart it and repeat this"
    )]
    Advertised {
        /// The node whose address is wrong.
        node: NodeId,
        /// What that address is for: `peer`, `client` or `http`.
        port: &'static str,
        /// The address that it advertises.
        address: String,
        /// Who tried it.
        by: NodeId,
        /// What failed.
        reason: String,
    },
    /// The two ends do not hold the same peer secret.
    #[error("node {node} at {address} is not taken for one of this cluster: {reason}")]
    Secret {
        /// The node.
        node: NodeId,
        /// Where it was asked.
        address: String,
        /// What is missing.
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

/// Why the members of a group were not changed. Nothing was changed unless it says [`ChangeError::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// This node does not lead. Retry at the leader.
    #[error("this node does not lead the group{}", leader_hint(.leader.as_ref()))]
    NotLeader {
        /// The leader, when this node knows one.
        leader: Option<Leader>,
    },
    /// The node that is to join did not answer as an empty one of this id. Retry once the cause is gone.
    #[error("the node cannot join: {0}")]
    Joiner(#[from] BootstrapError),
    /// The id belongs to a member already. An id is never used for a second data folder: choose a fresh one.
    #[error("node id {0} is a member's already; a node joins under an id that was never used")]
    IdInUse(NodeId),
    /// The id belonged to a member that was removed. Choose a fresh one.
    #[error("node id {0} was a member's; a node joins under an id that was never used")]
    IdUsedUp(NodeId),
    /// The node does not belong to the group.
    #[error("node {0} is no member of the group")]
    NotAMember(NodeId),
    /// The node has no vote to give away.
    #[error("node {0} is no voter of the group")]
    NotAVoter(NodeId),
    /// The node's data folder is an older copy of itself: it has forgotten votes, and never gets a vote again (hazards 34).
    #[error("the data folder of node {0} is an older copy of itself; it never votes again, replace it by a fresh node")]
    OlderCopy(NodeId),
    /// The node lacks too much of the log, or is silent. Retry once it has caught up.
    #[error("node {node} is not caught up: {lag} entries, {bytes} bytes behind, last heard {}", silence_hint(*.silence))]
    Behind {
        /// The node.
        node: NodeId,
        /// Entries that it lacks.
        lag: u64,
        /// About how many bytes those are.
        bytes: u64,
        /// How long ago it last answered, if it ever did.
        silence: Option<Duration>,
    },
    /// The voters that the change leaves would have no majority that is live: nothing would be stored any more.
    #[error("only {live} of the {voters} voters that would be left are live, which is no majority")]
    QuorumAtRisk {
        /// Those of them that answer now.
        live: usize,
        /// All that would vote.
        voters: usize,
    },
    /// Another change has begun and is not done. Retry later.
    #[error("another change of the group's members is under way")]
    UnderWay,
    /// The node leads. Hand leadership over, then repeat the change at the new leader.
    #[error("node {0} leads the group; hand leadership over first")]
    Leads(NodeId),
    /// The change may be done, now or later, or not. Repeating it is safe.
    #[error("whether the change is made is unknown: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
}

fn silence_hint(silence: Option<Duration>) -> String {
    silence.map_or_else(|| "never".to_owned(), |silence| format!("{} ms ago", silence.as_millis()))
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
