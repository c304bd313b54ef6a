//! Which members have room on their disks (hazards 9).
//!
//! Each follower says it with every answer to its leader, heartbeats included. A leader refuses publishes while its own disk
//! is low, or so many others are that no majority could take them. A member that says nothing counts as having room: what
//! it cannot take, it does not acknowledge.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;

use crate::storage::Room;
use crate::types::NodeId;

/// See the module.
#[derive(Debug)]
pub(crate) struct Rooms {
    own_id: NodeId,
    own: watch::Receiver<Room>,
    /// The followers that said they are low.
    low: Mutex<BTreeSet<NodeId>>,
}

impl Rooms {
    pub(crate) fn new(own_id: NodeId, own: watch::Receiver<Room>) -> Rooms {
        Rooms { own_id, own, low: Mutex::default() }
    }

    /// This node's own.
    pub(crate) fn own(&self) -> Room {
        *self.own.borrow()
    }

    /// A follower has answered.
    pub(crate) fn heard(&self, from: NodeId, room: Room) {
        let mut low = self.low();
        match room {
            Room::Low => low.insert(from),
            Room::Enough => low.remove(&from),
        };
    }

    /// Nobody is low, as far as is known: the usual case, told fast.
    pub(crate) fn all_have_room(&self) -> bool {
        self.own() == Room::Enough && self.low().is_empty()
    }

    /// The members because of which publishes must be refused now; none if they need not.
    pub(crate) fn in_the_way(&self, voters: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let mut low: Vec<NodeId> = self.low().intersection(voters).copied().filter(|id| *id != self.own_id).collect();
        let majority = voters.len() / 2 + 1;
        if self.own() == Room::Low {
            low.insert(0, self.own_id);
        } else if voters.len() - low.len() >= majority {
            low.clear();
        }
        low
    }

    /// The other voters that have room, if they are a majority by themselves: one of them leads better than a node that is
    /// low.
    pub(crate) fn roomier(&self, voters: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let roomy: BTreeSet<NodeId> =
            voters.difference(&self.low()).copied().filter(|voter| *voter != self.own_id).collect();
        if roomy.len() > voters.len() / 2 { roomy } else { BTreeSet::new() }
    }

    fn low(&self) -> MutexGuard<'_, BTreeSet<NodeId>> {
        self.low.lock().expect("nobody panics while holding the members that are low")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_gives_way_to_others_that_are_a_majority_with_room() {
        let (_, receiver) = watch::channel(Room::Low);
        let rooms = Rooms::new(NodeId(1), receiver);
        let voters = |ids: std::ops::RangeInclusive<u64>| ids.map(NodeId).collect::<BTreeSet<NodeId>>();
        assert_eq!(rooms.roomier(&voters(1..=3)), voters(2..=3));
        rooms.heard(NodeId(2), Room::Low);
        assert_eq!(rooms.roomier(&voters(1..=3)), BTreeSet::new(), "no majority could take a publish");
        assert_eq!(rooms.roomier(&voters(1..=5)), voters(3..=5));
        assert_eq!(rooms.roomier(&voters(1..=1)), BTreeSet::new());
    }

    #[test]
    fn publishes_are_refused_when_the_leader_or_a_majority_is_low() {
        let (sender, receiver) = watch::channel(Room::Enough);
        let rooms = Rooms::new(NodeId(1), receiver);
        let voters: BTreeSet<NodeId> = (1..=3).map(NodeId).collect();
        let in_the_way = || rooms.in_the_way(&voters);
        assert_eq!(in_the_way(), []);
        rooms.heard(NodeId(2), Room::Low);
        rooms.heard(NodeId(9), Room::Low);
        assert_eq!(in_the_way(), [], "two of three can take it; 9 has no vote");
        rooms.heard(NodeId(3), Room::Low);
        assert_eq!(in_the_way(), [NodeId(2), NodeId(3)]);
        rooms.heard(NodeId(2), Room::Enough);
        assert_eq!(in_the_way(), []);
        sender.send_replace(Room::Low);
        assert_eq!(in_the_way(), [NodeId(1), NodeId(3)]);
    }
}
