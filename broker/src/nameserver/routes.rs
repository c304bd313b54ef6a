//! The route table: who registered lately, and which topics they own. Pure: no clock, no I/O.

use std::{collections::BTreeMap, time::Duration};

use raft_log::{
    NodeAddresses,
    types::{ClusterId, GroupId, NodeId, Term},
};

use crate::model::TopicType;

/// Which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokerKey {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its broker group.
    pub group: GroupId,
    /// Its number in the group.
    pub node: NodeId,
}

/// What a node says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Leads in its term.
    Leader,
    /// Votes and does not lead.
    Follower,
    /// Has no vote.
    Learner,
}

/// A topic's queues on one broker group: 0 to `queues` - 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many, at least 1.
    pub queues: u32,
    /// What they hold.
    pub kind: TopicType,
}

/// What a node said in its last heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Which node.
    pub key: BrokerKey,
    /// Where it is.
    pub addresses: NodeAddresses,
    /// What it is.
    pub role: Role,
    /// In which term.
    pub term: Term,
    /// All topics that it knows of.
    pub topics: Vec<Topic>,
}

/// A registration and how long ago it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBroker<'a> {
    /// What the node said.
    pub registration: &'a Registration,
    /// Since it said so.
    pub silent: Duration,
}

/// The part of a topic that one broker group owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRoute<'a> {
    /// The group.
    pub group: GroupId,
    /// Its queues of the topic.
    pub topic: &'a Topic,
    /// The leader first if there is one, then by node id.
    pub nodes: Vec<&'a Registration>,
}

/// Why a registration was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The table is full; nodes that leave or fall silent make room.
    #[error("{brokers_max} brokers are registered already (setting nameserver.brokers_max)")]
    Full {
        /// The bound.
        brokers_max: usize,
    },
}

/// The table.
///
/// Invariants: at most `brokers_max` nodes; after `expire(now)` none that was silent for `silent_max` or longer. Times
/// are those of one monotonic clock and never fall.
#[derive(Debug)]
pub struct Routes {
    silent_max: Duration,
    brokers_max: usize,
    brokers: BTreeMap<BrokerKey, (Registration, Duration)>,
}

impl Routes {
    /// An empty table.
    #[must_use]
    pub fn new(silent_max: Duration, brokers_max: usize) -> Routes {
        assert!(!silent_max.is_zero() && brokers_max > 0, "a table that can hold something");
        Routes { silent_max, brokers_max, brokers: BTreeMap::new() }
    }

    /// How long a node may be silent.
    #[must_use]
    pub fn silent_max(&self) -> Duration {
        self.silent_max
    }

    /// A heartbeat: replaces what was known of the node.
    ///
    /// # Errors
    /// The table is full.
    pub fn register(&mut self, now: Duration, registration: Registration) -> Result<(), RegisterError> {
        self.expire(now);
        let known = self.brokers.contains_key(&registration.key);
        if !known && self.brokers.len() >= self.brokers_max {
            return Err(RegisterError::Full { brokers_max: self.brokers_max });
        }
        self.brokers.insert(registration.key, (registration, now));
        assert!(self.brokers.len() <= self.brokers_max, "the table keeps its bound");
        Ok(())
    }

    /// A node says that it goes.
    pub fn leave(&mut self, key: BrokerKey) {
        self.brokers.remove(&key);
    }

    /// Forgets the nodes that were silent for too long; returns them.
    pub fn expire(&mut self, now: Duration) -> Vec<BrokerKey> {
        let silent_max = self.silent_max;
        self.brokers
            .extract_if(.., |_, (_, heard)| now.saturating_sub(*heard) >= silent_max)
            .map(|(key, _)| key)
            .collect()
    }

    /// All nodes that are not silent, by cluster, group and node.
    pub fn brokers(&self, now: Duration) -> impl Iterator<Item = KnownBroker<'_>> {
        self.brokers
            .values()
            .map(move |(registration, heard)| KnownBroker { registration, silent: now.saturating_sub(*heard) })
            .filter(|known| known.silent < self.silent_max)
    }

    /// The groups that own queues of a topic, by cluster and group.
    #[must_use]
    pub fn route(&self, now: Duration, topic: &str) -> Vec<GroupRoute<'_>> {
        let live: Vec<_> = self.brokers(now).map(|known| known.registration).collect();
        live.chunk_by(|a, b| (a.key.cluster, a.key.group) == (b.key.cluster, b.key.group))
            .filter_map(|nodes| group_route(nodes, topic))
            .collect()
    }
}

/// `nodes` are those of one group, by id.
fn group_route<'a>(nodes: &[&'a Registration], topic: &str) -> Option<GroupRoute<'a>> {
    // A deposed leader may not know it yet: the highest term is right.
    let leader = nodes.iter().filter(|node| node.role == Role::Leader).max_by_key(|node| node.term);
    let authority = leader.or_else(|| nodes.iter().max_by_key(|node| node.term))?;
    let topic = authority.topics.iter().find(|known| known.name == topic)?;
    let mut nodes = nodes.to_vec();
    if let Some(leader) = leader {
        nodes.sort_by_key(|node| (node.key != leader.key, node.key));
    }
    Some(GroupRoute { group: authority.key.group, topic, nodes })
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
