//! A checkpoint at the purge point that is lost or damaged (hazards 25, 36).
//!
//! It is what a follower behind the log gets, and no other one serves: with a newer one the follower would lack entries that are
//! retained. What can be done, best first:
//! ```text
//!   nothing below a newer checkpoint is needed      retention purges to that one; if there is none, one is made
//!   a follower needs one now, and this node leads   leadership goes to another voter, which has a checkpoint of its own
//!   else                                            wait: what is needed moves on
//! ```
//! Damaged checkpoints elsewhere are removed; the next roll makes another one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use tokio::time::Instant;

use super::catch_ups::CatchUps;
use super::looks::next_look;
use crate::checkpoint::Checkpoints;
use crate::exec;
use crate::raft::core::RaftCore;
use crate::raft::state_adapter::StateAdapter;
use crate::replica::leadership::Leadership;
use crate::storage::Log;

/// Leadership is given away for this at most so often: the others may be no better off.
const HAND_OVER_AGAIN: Duration = Duration::from_secs(60);

/// See the module.
pub(crate) struct LostCheckpoint {
    pub(crate) raft: RaftCore,
    pub(crate) log: Log,
    pub(crate) state: StateAdapter,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) catch_ups: Arc<CatchUps>,
    pub(crate) leadership: Leadership,
    pub(crate) check_interval: Duration,
}

impl LostCheckpoint {
    /// Looks until the core stops.
    pub(crate) async fn run(self) {
        let mut handed_over = None;
        while next_look(&self.raft, self.check_interval).await {
            if let Err(error) = self.look(&mut handed_over).await {
                tracing::warn!(%error, "a damaged checkpoint could not be replaced; it is tried again");
            }
        }
    }

    async fn look(&self, handed_over: &mut Option<Instant>) -> io::Result<()> {
        let purged = self.log.bounds().purged;
        let checkpoints = self.checkpoints.clone();
        let removed = exec::blocking(move || checkpoints.remove_damaged(purged)).await??;
        if removed && self.checkpoints.newest().is_none() {
            self.make().await?;
        }
        let Some(purged) = purged else { return Ok(()) };
        if self.checkpoints.at(purged).is_some_and(|standing| !standing.is_damaged()) {
            return Ok(());
        }
        if self.checkpoints.sound_from(purged.index.next()).is_none() {
            self.make().await?;
        }
        let recently = handed_over.is_some_and(|at: Instant| at.elapsed() < HAND_OVER_AGAIN);
        let lacking = self.catch_ups.take_lacking();
        if lacking && !recently && self.raft.metrics().borrow_watched().state == ServerState::Leader {
            *handed_over = Some(Instant::now());
            self.leadership.transfer(None).await.map_err(io::Error::other)?;
            tracing::warn!(%purged, "leadership is handed over: this node has no checkpoint for a follower that needs one");
        }
        Ok(())
    }

    /// Makes one of what is applied now, and tells openraft, which purges nothing beyond what it knows of.
    async fn make(&self) -> io::Result<()> {
        if let Some(made) = self.state.checkpoint().await? {
            tracing::info!(id = %made.id(), "a checkpoint is made in the place of a damaged one");
            self.raft.trigger().snapshot().await.map_err(io::Error::other)?;
        }
        Ok(())
    }
}
