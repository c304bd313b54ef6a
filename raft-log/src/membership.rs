//! Who belongs to a group: voters, learners, their addresses and incarnations.
//!
//! A membership is the payload of a membership entry. Each member carries the incarnation of its data folder, so that
//! a wiped folder under a known id is told from the member that voted (hazards 2), and its advertised addresses, which
//! may change by a later membership entry (hazards 28).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::types::{Incarnation, NodeId};

/// Where a node can be reached from other machines, each as `host:port`; names are resolved at each connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeAddresses {
    /// Traffic between replicas.
    pub peer: String,
    /// What clients connect to.
    pub client: String,
    /// Metrics and health.
    pub http: String,
}

/// A member of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemberNode {
    /// Its advertised addresses.
    pub addresses: NodeAddresses,
    /// The incarnation of its data folder (hazards 2).
    pub incarnation: u128,
}

impl MemberNode {
    /// The incarnation of the member's data folder.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(self.incarnation)
    }
}

/// The members of a group as one membership entry states them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// One set of voters, or two while a change is under way (joint consensus).
    pub configs: Vec<BTreeSet<NodeId>>,
    /// All members, voters and learners.
    pub nodes: BTreeMap<NodeId, MemberNode>,
}
