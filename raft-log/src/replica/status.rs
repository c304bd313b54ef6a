//! What a replica tells about itself: role, positions, members, health.

use std::time::Duration;

use crate::membership::NodeAddresses;
use crate::types::{ClusterId, LogId, LogIndex, NodeId, Term};

/// The part that a replica plays now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Belongs to no cluster yet: neither bootstrapped nor reached by a leader.
    Unformed,
    /// Follows the log without a vote.
    Learner,
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads the group.
    Leader,
    /// Stopped, by shutdown or by a fatal error; see [`Status::health`].
    Stopped,
}

impl Role {
    /// The name used in status output and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Unformed => "unformed",
            Role::Learner => "learner",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
            Role::Stopped => "stopped",
        }
    }
}

/// Whether a replica can do its part, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing is wrong with this node.
    Healthy,
    /// The cluster knows this node id with another data folder: this one was wiped or swapped and never votes under
    /// this id (hazards 2). Remove the node from the group and let it join under a fresh id.
    WipedVoter {
        /// What was refused, naming both incarnations.
        reason: String,
    },
    /// The node stopped and must be restarted; for instance a failed fsync.
    Failed {
        /// What failed.
        reason: String,
    },
}

/// One member of the group, as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The member's id.
    pub id: NodeId,
    /// Its advertised addresses.
    pub addresses: NodeAddresses,
    /// Whether it votes.
    pub voter: bool,
    /// The last entry that it is known to hold as the leader does; known on the leader only.
    pub matched: Option<LogIndex>,
    /// How long ago it last acknowledged something; known on the leader only.
    pub last_heard: Option<Duration>,
}

/// A snapshot of a replica's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub node_id: NodeId,
    /// The cluster it belongs to, once bootstrapped.
    pub cluster: Option<ClusterId>,
    /// The part it plays.
    pub role: Role,
    /// Its current term.
    pub term: Term,
    /// The leader that it follows, itself included.
    pub leader: Option<NodeId>,
    /// The last entry of its log.
    pub last: Option<LogId>,
    /// The last entry that it knows as committed.
    pub committed: Option<LogId>,
    /// The last entry that its state machine applied.
    pub applied: Option<LogId>,
    /// The last entry that is on its disk (fsynced, in both durabilities).
    pub durable: Option<LogIndex>,
    /// The members of the group by id.
    pub members: Vec<Member>,
    /// Leads, and has applied everything from before its leadership: answers of its state are current.
    pub serving: bool,
    /// Whether the node can do its part.
    pub health: Health,
}

impl Status {
    /// The member with this id.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }
}
