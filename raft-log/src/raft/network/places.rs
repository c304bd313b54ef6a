//! The table of connections on the peer port: each place has an owner and an end (hazards 39).
//!
//! ```text
//!   accepted ─► greeting ─────────────► seated: (member, purpose) ─► the connection ends
//!               gives way to newer ones   gives way to a newer one of the same member for the same purpose,
//!               when there are too many   and to the deadlines of what it carries
//! ```
//! Nothing that lives is refused for what is dead: a member that connects anew, because its old connection was lost without
//! a word, takes its own place, and leaves no more behind than it can fill. Who has not introduced himself holds a place
//! for the time of a handshake, shorter while others come.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::raft::wire::handshake::Purpose;
use crate::types::NodeId;

/// Pause after a failed accept, for instance without file descriptors.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Handshakes at once.
const GREETINGS_MAX: usize = 128;
/// Connections at once of callers that belong to no cluster, all of them together.
const STRANGERS_MAX: usize = 8;
/// Nodes that hold places at once; a group has seven members at most, and others come and go.
const NODES_MAX: usize = 32;

/// Who holds a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Greeting,
    Stranger,
    Node(NodeId, Purpose),
}

impl Owner {
    /// How many places it may hold.
    fn places_max(self) -> usize {
        match self {
            Owner::Greeting => GREETINGS_MAX,
            Owner::Stranger => STRANGERS_MAX,
            // A stream of entries and one of heartbeats.
            Owner::Node(_, Purpose::Append | Purpose::Heartbeat | Purpose::Checkpoint) => 1,
            // A vote may wait for a disk, while others ask.
            Owner::Node(_, Purpose::Call | Purpose::Repair | Purpose::Bootstrap) => 4,
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    taken: u64,
    held: BTreeMap<Owner, VecDeque<(u64, CancellationToken)>>,
}

/// See the module; clones are the same table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    table: Arc<Mutex<Table>>,
}

/// A place; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    owner: Owner,
    number: u64,
    /// Cancelled once another connection has taken it.
    pub(crate) given: CancellationToken,
}

impl Places {
    /// A place for a connection that was just accepted.
    pub(crate) fn greet(&self) -> Place {
        let mut table = self.table();
        table.taken += 1;
        let place = Place {
            places: self.clone(),
            owner: Owner::Greeting,
            number: table.taken,
            given: CancellationToken::new(),
        };
        table.hold(&place);
        place
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no holder of this lock panics")
    }
}

impl Place {
    /// Whether this caller may be seated at all.
    pub(crate) fn is_for(&self, node: NodeId, purpose: Purpose) -> bool {
        let owner = Owner::Node(node, purpose);
        let table = self.places.table();
        let nodes = table.nodes();
        purpose == Purpose::Bootstrap
            || table.held.contains_key(&owner)
            || nodes.len() < NODES_MAX
            || nodes.contains(&node)
    }

    /// Takes the place that this caller has for this purpose; who held it longest gives way.
    pub(crate) fn seat(&mut self, node: NodeId, purpose: Purpose) {
        let places = self.places.clone();
        let mut table = places.table();
        table.leave(self.owner, self.number);
        self.owner = if purpose == Purpose::Bootstrap { Owner::Stranger } else { Owner::Node(node, purpose) };
        table.hold(self);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let places = self.places.clone();
        places.table().leave(self.owner, self.number);
    }
}

impl Table {
    fn hold(&mut self, place: &Place) {
        let held = self.held.entry(place.owner).or_default();
        held.push_back((place.number, place.given.clone()));
        if held.len() > place.owner.places_max()
            && let Some((_, oldest)) = held.pop_front()
        {
            oldest.cancel();
        }
    }

    fn leave(&mut self, owner: Owner, number: u64) {
        let Some(held) = self.held.get_mut(&owner) else { return };
        held.retain(|(other, _)| *other != number);
        if held.is_empty() {
            self.held.remove(&owner);
        }
    }

    fn nodes(&self) -> std::collections::BTreeSet<NodeId> {
        let node = |owner: &Owner| match owner {
            Owner::Node(node, _) => Some(*node),
            Owner::Greeting | Owner::Stranger => None,
        };
        self.held.keys().filter_map(node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(2);

    fn seated(places: &Places, node: NodeId, purpose: Purpose) -> Place {
        let mut place = places.greet();
        assert!(place.is_for(node, purpose));
        place.seat(node, purpose);
        place
    }

    #[test]
    fn a_new_connection_takes_the_place_of_the_old_one_of_the_same_member_and_purpose() {
        let places = Places::default();
        let old = seated(&places, PEER, Purpose::Heartbeat);
        let entries = seated(&places, PEER, Purpose::Append);
        let other = seated(&places, NodeId(3), Purpose::Heartbeat);
        let new = seated(&places, PEER, Purpose::Heartbeat);
        assert!(old.given.is_cancelled());
        for place in [&entries, &other, &new] {
            assert!(!place.given.is_cancelled(), "{place:?}");
        }
        drop(old);
        let newest = seated(&places, PEER, Purpose::Heartbeat);
        assert!(new.given.is_cancelled(), "the end of the first did not free the place of the second");
        drop((new, newest, entries, other));
        assert!(places.table().held.is_empty());
    }

    #[test]
    fn strangers_push_out_strangers_and_nobody_else() {
        let places = Places::default();
        let member = seated(&places, PEER, Purpose::Append);
        let silent: Vec<Place> = (0..=GREETINGS_MAX).map(|_| places.greet()).collect();
        assert!(silent[0].given.is_cancelled() && silent[1..].iter().all(|place| !place.given.is_cancelled()));
        let idle: Vec<Place> =
            (0..=STRANGERS_MAX as u64).map(|node| seated(&places, NodeId(node), Purpose::Bootstrap)).collect();
        assert!(idle[0].given.is_cancelled() && idle[1..].iter().all(|place| !place.given.is_cancelled()));
        assert!(!member.given.is_cancelled());
    }

    #[test]
    fn no_more_nodes_hold_places_than_a_cluster_could_have() {
        let places = Places::default();
        let held: Vec<Place> =
            (0..NODES_MAX as u64).map(|node| seated(&places, NodeId(node), Purpose::Append)).collect();
        let newcomer = places.greet();
        assert!(!newcomer.is_for(NodeId(1_000), Purpose::Append));
        assert!(newcomer.is_for(NodeId(1), Purpose::Heartbeat), "who has a place may take another");
        drop(held);
        assert!(newcomer.is_for(NodeId(1_000), Purpose::Append));
    }
}
