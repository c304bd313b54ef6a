//! Checkpoints at segment rolls: a task of its own, so that one which fails, or waits for the disk, keeps nothing from being
//! trimmed and released.

use std::io;
use std::sync::Arc;

use super::looks::next_look;
use crate::checkpoint::Checkpoints;
use crate::exec;
use crate::raft::core::RaftCore;
use crate::raft::state_adapter::StateAdapter;
use crate::raft::state_worker::StateWorker;
use crate::replica::RetentionOptions;
use crate::storage::Log;
use crate::types::NodeId;

/// Checkpoints of a segment that all nodes begin at about the same time are begun over so many looks.
const CHECKPOINT_SPREAD_LOOKS: u64 = 4;

/// See the module.
pub(crate) struct RollCheckpoints {
    pub(crate) node: NodeId,
    pub(crate) options: RetentionOptions,
    pub(crate) raft: RaftCore,
    pub(crate) log: Log,
    pub(crate) state: StateAdapter,
    pub(crate) worker: StateWorker,
    pub(crate) checkpoints: Arc<Checkpoints>,
    /// Looks for which the checkpoint that is due was put off.
    pub(crate) put_off: u64,
}

impl RollCheckpoints {
    /// Looks for new segments until the core stops.
    pub(crate) async fn run(mut self) {
        while next_look(&self.raft, self.options.check_interval).await {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "no checkpoint could be made of the state; it is tried again");
            }
        }
    }

    /// A checkpoint for each segment that was begun: the finer they lie, the closer to its bounds the log is purged. Nodes
    /// begin their segments at about the same time, and each waits for a number of looks of its own.
    async fn look(&mut self) -> io::Result<()> {
        let segments = self.log.segments();
        let Some(newest) = segments.last().filter(|_| segments.len() > 1) else { return Ok(()) };
        let begun = newest.base;
        let due = self.checkpoints.newest().is_none_or(|checkpoint| checkpoint.id().index < begun);
        if !due || self.worker.applied().get() < Some(begun) {
            return Ok(());
        }
        if self.put_off < self.node.0 % CHECKPOINT_SPREAD_LOOKS {
            self.put_off += 1;
            return Ok(());
        }
        self.put_off = 0;
        let made = self.state.checkpoint().await?;
        if let Some(made) = made {
            tracing::info!(node = %self.node, id = %made.id(), bytes = made.manifest.bytes(), "a checkpoint is made");
        }
        self.raft.trigger().snapshot().await.map_err(io::Error::other)?;
        let (checkpoints, kept_max) = (self.checkpoints.clone(), self.options.checkpoints_max);
        let purged = self.log.bounds().purged.map(|purged| purged.index);
        Ok(exec::blocking(move || checkpoints.thin(purged, kept_max)).await??)
    }
}
