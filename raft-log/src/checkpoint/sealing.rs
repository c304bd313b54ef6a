//! Sealing a checkpoint of this node's own state, in steps that leave the disk to others in between.

use std::sync::Arc;

use crate::checkpoint::complete::Checkpoint;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::folder::Checkpoints;
use crate::checkpoint::summing::Summing;
use crate::state_machine::AppliedPoint;

/// A checkpoint of this node's own state on its way to being kept. All calls block on the disk.
pub(crate) struct Sealing {
    point: AppliedPoint,
    summing: Summing,
}

impl Sealing {
    /// Of the files that were written into the folder of [`Checkpoints::begin`].
    pub(crate) fn begin(checkpoints: &Checkpoints, point: AppliedPoint) -> Result<Sealing, CheckpointError> {
        let dir = checkpoints.dir_of(point.id.index);
        let summing = Summing::begin(checkpoints.env(), &dir, checkpoints.known())?;
        Ok(Sealing { point, summing })
    }

    /// Reads one chunk and says how many bytes it was; `None` when everything is read.
    pub(crate) fn step(&mut self) -> Result<Option<usize>, CheckpointError> {
        self.summing.step()
    }

    /// Writes the manifest and keeps the checkpoint.
    pub(crate) fn finish(self, checkpoints: &Checkpoints) -> Result<Arc<Checkpoint>, CheckpointError> {
        checkpoints.seal_summed(self.point, self.summing.finish()?)
    }
}

#[cfg(test)]
impl Checkpoints {
    /// Seals the files that were written into the folder of [`begin`](Self::begin): all steps of [`Sealing`] at once.
    /// Blocks for as long as reading what is new takes.
    pub(crate) fn seal(&self, point: AppliedPoint) -> Result<Arc<Checkpoint>, CheckpointError> {
        let mut sealing = Sealing::begin(self, point)?;
        while sealing.step()?.is_some() {}
        sealing.finish(self)
    }
}
