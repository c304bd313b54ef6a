//! What a replica tells about itself: role, positions, members, health.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::membership::NodeAddresses;
use crate::raft::gate_reason::GateReason;
use crate::raft::retention::AgePause;
use crate::storage::Room;
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
    /// Part of its log is damaged, and is being repaired from the peers (hazards 8). The node follows, and keeps out of
    /// elections; if it stays so, no peer holds what is lost: remove the node and let it join under a fresh id.
    Damaged {
        /// Where, and what is missing for the repair.
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
    /// By how many milliseconds its wall clock is ahead of the median of the voters' clocks; behind, if negative. Known on
    /// the leader only.
    pub clock_error_ms: Option<i64>,
}

impl Member {
    /// A member of whom nothing is heard yet.
    #[must_use]
    pub fn new(id: NodeId, addresses: NodeAddresses, voter: bool) -> Member {
        Member { id, addresses, voter, matched: None, last_heard: None, clock_error_ms: None }
    }
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
    /// The last entry that is purged: what is kept begins behind it.
    pub purged: Option<LogId>,
    /// The entry of its newest kept checkpoint.
    pub checkpoint: Option<LogId>,
    /// The last entry that is on its disk (fsynced, in both durabilities).
    pub durable: Option<LogIndex>,
    /// The members of the group by id.
    pub members: Vec<Member>,
    /// Leads, may go on leading, hears a majority, and has applied everything from before its leadership: its state's answers are current.
    pub serving: bool,
    /// Why it keeps out of elections: it neither campaigns nor takes over leadership, and grants no votes for most of these
    /// reasons ([`GateReason::stops_granting`]). Empty is normal.
    pub gate: BTreeSet<GateReason>,
    /// Whether its disk has room for more messages (hazards 9).
    pub room: Room,
    /// Why nothing goes by age now; on a leader only.
    pub age_pause: Option<AgePause>,
    /// Whether the node can do its part.
    pub health: Health,
}

impl Status {
    /// Of a node that is well, with an empty log, in no group.
    #[must_use]
    pub fn unformed(node_id: NodeId) -> Status {
        Status {
            node_id,
            cluster: None,
            role: Role::Unformed,
            term: Term::default(),
            leader: None,
            last: None,
            committed: None,
            applied: None,
            purged: None,
            checkpoint: None,
            durable: None,
            members: Vec::new(),
            serving: false,
            gate: BTreeSet::new(),
            room: Room::Enough,
            age_pause: None,
            health: Health::Healthy,
        }
    }

    /// Whether two snapshots differ in nothing but positions and the times at which members were heard. Those change
    /// with every entry; what is compared here changes with elections, configuration and faults.
    #[must_use]
    pub(crate) fn same_standing(&self, other: &Status) -> bool {
        let member = |(one, other): (&Member, &Member)| {
            one.id == other.id && one.addresses == other.addresses && one.voter == other.voter
        };
        self.node_id == other.node_id
            && self.cluster == other.cluster
            && self.role == other.role
            && self.term == other.term
            && self.leader == other.leader
            && self.serving == other.serving
            && self.gate == other.gate
            && self.room == other.room
            && self.health == other.health
            && self.members.len() == other.members.len()
            && self.members.iter().zip(&other.members).all(member)
    }

    /// The member with this id.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        let addresses = NodeAddresses { peer: "a:1".into(), client: "a:2".into(), http: "a:3".into() };
        Status {
            cluster: Some(ClusterId(5)),
            role: Role::Leader,
            term: Term(2),
            leader: Some(NodeId(1)),
            members: vec![Member::new(NodeId(1), addresses, true)],
            serving: true,
            ..Status::unformed(NodeId(1))
        }
    }

    #[test]
    fn positions_and_times_do_not_change_the_standing() {
        let id = Some(LogId { term: Term(2), index: LogIndex(7) });
        let mut moved = Status { last: id, committed: id, applied: id, durable: Some(LogIndex(7)), ..status() };
        moved.members[0].matched = Some(LogIndex(7));
        moved.members[0].last_heard = Some(Duration::from_millis(3));
        assert!(moved.same_standing(&status()));
    }

    #[test]
    fn anything_else_changes_the_standing() {
        let changes: [fn(&mut Status); 11] = [
            |status| status.room = Room::Low,
            |status| status.cluster = None,
            |status| status.role = Role::Follower,
            |status| status.term = Term(3),
            |status| status.leader = None,
            |status| status.serving = false,
            |status| status.gate.extend([GateReason::Damaged]),
            |status| status.health = Health::Failed { reason: "disk".into() },
            |status| status.members.clear(),
            |status| status.members[0].voter = false,
            |status| status.members[0].addresses.client = "b:2".into(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = status();
            change(&mut changed);
            assert!(!changed.same_standing(&status()), "change {number}");
        }
    }
}
