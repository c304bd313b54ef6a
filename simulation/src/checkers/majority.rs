//! Counting by the memberships in the logs.

use raft_log::Membership;
use raft_log::types::NodeId;

/// Whether those who `hold` are a majority of every set of voters of this membership.
pub(super) fn of_each(membership: &Membership, hold: impl Fn(NodeId) -> bool) -> bool {
    !membership.configs.is_empty()
        && membership
            .configs
            .iter()
            .all(|voters| voters.iter().filter(|voter| hold(**voter)).count() * 2 > voters.len())
}
