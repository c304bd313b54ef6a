//! Which broker group of a cluster.

use std::fmt;

/// The number of a broker group: the nodes that hold one log together. The queues of a topic are numbered within each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BrokerGroup(pub u32);

impl fmt::Display for BrokerGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
