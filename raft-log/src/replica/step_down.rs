//! A leader that should not lead gives its leadership away: one that the vote gate holds back, and one whose disk is low
//! while a majority has room ([`for_want_of_room`]; else it would refuse publishes that the group could take).
//!
//! It takes no more proposals from the moment the gate closes (see `propose`), so the transfer has nothing to wait for.
//! Without a voter that could take over it goes on asking; a leader that cannot be trusted and cannot be replaced serves
//! nobody, which is what its callers are told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::raft::network::peers::Peers;
use crate::raft::vote_gate::VoteGate;
use crate::replica::leadership::Leadership;
use crate::replica::status::{Role, Status};
use crate::storage::Room;
use crate::types::NodeId;

/// Pause between two attempts.
const AGAIN: Duration = Duration::from_millis(500);

/// A disk that is low for so long is not low for a moment; by then each follower has told of its own as well.
const LOW_FOR: Duration = Duration::from_secs(2);

/// Hands over while this node's disk is low and another's is not; for the life of the core.
pub(crate) async fn for_want_of_room(leadership: Leadership, peers: Arc<Peers>, mut room: watch::Receiver<Room>) {
    while room.wait_for(|room| *room == Room::Low).await.is_ok() {
        tokio::time::sleep(LOW_FOR).await;
        let target = target_with_room(&leadership.now(), &peers);
        let Some(target) = target.filter(|_| *room.borrow() == Room::Low) else { continue };
        match leadership.transfer(Some(target)).await {
            Ok(()) => tracing::warn!(%target, "leadership is handed over, because this node's disk is low"),
            Err(error) => tracing::warn!(%target, %error, "this leader's disk is low, and the other did not take over"),
        }
    }
}

/// The voter that is furthest along of those with room, on a leader.
fn target_with_room(now: &Status, peers: &Peers) -> Option<NodeId> {
    if now.role != Role::Leader {
        return None;
    }
    let voters: BTreeSet<NodeId> = now.members.iter().filter(|member| member.voter).map(|member| member.id).collect();
    let roomier = peers.rooms.roomier(&voters);
    let fit = now.members.iter().filter(|member| roomier.contains(&member.id));
    fit.max_by_key(|member| member.matched).map(|member| member.id)
}

/// Watches for the life of the core.
pub(crate) async fn run(leadership: Leadership, gate: VoteGate) {
    let mut gated = gate.watch();
    let mut standing = leadership.standing();
    while gated.wait_for(|reasons| !reasons.is_empty()).await.is_ok() {
        let leads = standing.borrow_and_update().role == Role::Leader;
        if leads {
            match leadership.transfer(None).await {
                Ok(()) => tracing::warn!("leadership is handed over, because this node keeps out of elections"),
                Err(error) => {
                    tracing::warn!(%error, "this leader keeps out of elections and found nobody to take over");
                    tokio::time::sleep(AGAIN).await;
                }
            }
            continue;
        }
        let ended = tokio::select! {
            changed = standing.changed() => changed.is_err(),
            changed = gated.changed() => changed.is_err(),
        };
        if ended {
            return;
        }
    }
}
