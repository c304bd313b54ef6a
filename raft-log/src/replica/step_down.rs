//! A leader that the vote gate holds back gives its leadership away.
//!
//! It takes no more proposals from the moment the gate closes (see `propose`), so the transfer has nothing to wait for.
//! Without a voter that could take over it goes on asking; a leader that cannot be trusted and cannot be replaced serves
//! nobody, which is what its callers are told.

use std::time::Duration;

use crate::raft::vote_gate::VoteGate;
use crate::replica::leadership::Leadership;
use crate::replica::status::Role;

/// Pause between two attempts.
const AGAIN: Duration = Duration::from_millis(500);

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
