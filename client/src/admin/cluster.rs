//! Nodes of a broker group as an administrator sees them.

use tercet_proto::admin::v1 as api;

use crate::broker_group::BrokerGroup;

/// The nodes of a broker group as one of them sees them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ClusterStatus {
    /// 32 hexadecimal digits; nothing before the bootstrap.
    pub cluster_id: Option<String>,
    /// Which broker group of the cluster it is.
    pub broker_group: BrokerGroup,
    /// The leader of the highest term that any node names, by its id.
    pub leader: Option<u64>,
    /// By id.
    pub nodes: Vec<Node>,
}

/// What a node is in its broker group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeRole {
    /// Leads.
    Leader,
    /// Follows, with a vote.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Receives the log without a vote.
    Learner,
    /// Runs, and belongs to no broker group yet.
    Joining,
}

/// Where a node is reached, `host:port` each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NodeAddresses {
    /// By clients.
    pub client: String,
    /// By the other nodes.
    pub peer: String,
    /// For monitoring.
    pub http: String,
}

/// One node. Of its indexes applied ≤ committed ≤ last holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Node {
    /// Its id.
    pub id: u64,
    /// Where it is reached.
    pub addresses: NodeAddresses,
    /// Nothing if it could not be asked.
    pub role: Option<NodeRole>,
    /// Whether its vote counts.
    pub voter: bool,
    /// Its Raft term.
    pub term: u64,
    /// Whom it takes for the leader.
    pub leader: Option<u64>,
    /// The last entry of its log.
    pub last_index: Option<u64>,
    /// The last entry that its own disk holds for sure.
    pub durable_index: Option<u64>,
    /// The last entry that it knows to be committed.
    pub committed_index: Option<u64>,
    /// The last entry in its state.
    pub applied_index: Option<u64>,
    /// Entries that the leader has and this node lacks.
    pub lag: u64,
    /// It answers, has a leader, and is caught up.
    pub healthy: bool,
    /// Why it is not healthy, in words.
    pub problem: Option<String>,
    /// Of its program.
    pub version: String,
    /// What an operator should look at although the node does its part, in words.
    pub warnings: Vec<String>,
    /// The feature level of the group as far as this node knows; 0 if it could not be asked.
    pub level: u32,
    /// The highest feature level that its program knows.
    pub newest_level: u32,
}

/// A node that belongs to the group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Where it is reached.
    pub addresses: NodeAddresses,
    /// Whether its vote counts.
    pub voter: bool,
}

/// Who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leader {
    /// The id of the node.
    pub node: u64,
    /// The Raft term in which it leads.
    pub term: u64,
}

/// The feature level of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RaisedLevel {
    /// The level now.
    pub level: u32,
    /// Whether this call raised it; if not, it was the newest before.
    pub raised: bool,
}

impl ClusterStatus {
    pub(super) fn of(answer: api::ClusterStatusResponse) -> Self {
        let api::ClusterStatusResponse { cluster_id, group, leader, nodes } = answer;
        let nodes = nodes.into_iter().map(Node::of).collect();
        Self { cluster_id: some(cluster_id), broker_group: BrokerGroup(group), leader, nodes }
    }

    /// The voter that lacks least of the leader's log, if another than the leader lives.
    pub(super) fn successor(&self) -> Option<u64> {
        let able = |node: &&Node| node.voter && node.healthy && Some(node.id) != self.leader;
        let best = self.nodes.iter().filter(able).max_by_key(|node| (node.last_index, std::cmp::Reverse(node.id)));
        best.map(|node| node.id)
    }
}

impl Node {
    pub(super) fn of(node: api::Node) -> Self {
        let role = match node.role() {
            api::NodeRole::Leader => Some(NodeRole::Leader),
            api::NodeRole::Follower => Some(NodeRole::Follower),
            api::NodeRole::Candidate => Some(NodeRole::Candidate),
            api::NodeRole::Learner => Some(NodeRole::Learner),
            api::NodeRole::Joining => Some(NodeRole::Joining),
            api::NodeRole::Unspecified => None,
        };
        Self {
            id: node.node_id,
            addresses: NodeAddresses::of(node.addresses),
            role,
            voter: node.voter,
            term: node.term,
            leader: node.leader,
            last_index: node.last_index,
            durable_index: node.durable_index,
            committed_index: node.committed_index,
            applied_index: node.applied_index,
            lag: node.lag,
            healthy: node.healthy,
            problem: some(node.problem),
            version: node.version,
            warnings: node.warnings,
            level: node.level,
            newest_level: node.newest_level,
        }
    }
}

impl NodeAddresses {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where clients reach it.
    #[must_use]
    pub fn client(mut self, address: impl Into<String>) -> Self {
        self.client = address.into();
        self
    }

    /// Where the other nodes reach it.
    #[must_use]
    pub fn peer(mut self, address: impl Into<String>) -> Self {
        self.peer = address.into();
        self
    }

    /// Where monitoring reaches it.
    #[must_use]
    pub fn http(mut self, address: impl Into<String>) -> Self {
        self.http = address.into();
        self
    }

    fn of(addresses: Option<api::NodeAddresses>) -> Self {
        let api::NodeAddresses { client, peer, http } = addresses.unwrap_or_default();
        Self { client, peer, http }
    }

    pub(super) fn into_api(self) -> api::NodeAddresses {
        let Self { client, peer, http } = self;
        api::NodeAddresses { client, peer, http }
    }
}

impl Member {
    pub(super) fn all_of(answer: api::MembersResponse) -> Vec<Self> {
        let member = |member: api::Member| Self {
            id: member.node_id,
            addresses: NodeAddresses::of(member.addresses),
            voter: member.voter,
        };
        answer.members.into_iter().map(member).collect()
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leadership_goes_to_a_living_voter_that_lacks_least() {
        let node = |node_id, last_index, voter, healthy| api::Node {
            node_id,
            last_index: Some(last_index),
            voter,
            healthy,
            ..Default::default()
        };
        let nodes = vec![
            node(1, 100, true, true),
            node(2, 90, true, true),
            node(3, 95, true, true),
            node(4, 99, false, true),
            node(5, 99, true, false),
        ];
        let status =
            |nodes| ClusterStatus::of(api::ClusterStatusResponse { leader: Some(1), nodes, ..Default::default() });
        assert_eq!(status(nodes.clone()).successor(), Some(3));
        assert_eq!(status(nodes[..1].to_vec()).successor(), None);
    }
}
