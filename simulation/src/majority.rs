//! Counting by the sets of voters that the logs name.

use std::collections::BTreeSet;

use raft_log::types::NodeId;

/// Whether those who `hold` are a majority of each of these sets, of which there is one at least.
pub(crate) fn of_each<'a>(sets: impl IntoIterator<Item = &'a BTreeSet<NodeId>>, hold: impl Fn(NodeId) -> bool) -> bool {
    let mut sets = sets.into_iter().peekable();
    sets.peek().is_some() && sets.all(|voters| voters.iter().filter(|voter| hold(**voter)).count() * 2 > voters.len())
}
