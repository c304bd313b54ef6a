//! Reading kept checkpoints again, so that rot in one is known before a follower needs it.

use crate::checkpoint::complete::Checkpoint;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::folder::Checkpoints;
use crate::types::LogIndex;

/// Where a scrub goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckpointPlace {
    index: LogIndex,
    chunk: usize,
}

/// What a step did.
#[derive(Debug)]
pub(crate) struct CheckpointScrubbed {
    pub(crate) bytes: usize,
    /// Where to go on; `None` when everything was read.
    pub(crate) next: Option<CheckpointPlace>,
    /// Why this piece could not be looked at; the scrub goes on behind it. Damage is no such reason: it is remembered.
    pub(crate) skipped: Option<CheckpointError>,
}

impl Checkpoints {
    /// Reads one chunk from `place` on, or of the oldest checkpoint. Files that an older checkpoint shares are read there
    /// only. Blocks.
    pub(crate) fn scrub(&self, place: Option<CheckpointPlace>) -> CheckpointScrubbed {
        let from = place.map_or(LogIndex(0), |place| place.index);
        let Some(checkpoint) = self.oldest_from(from) else {
            return CheckpointScrubbed { bytes: 0, next: None, skipped: None };
        };
        let index = checkpoint.id().index;
        let begin = place.filter(|place| place.index == index).map_or(0, |place| place.chunk);
        let following =
            || self.oldest_from(index.next()).map(|next| CheckpointPlace { index: next.id().index, chunk: 0 });
        let older = self.newest_below(index);
        let shared = |file: usize| older.as_ref().is_some_and(|older| shares(&checkpoint, older, file));
        let mut chunks = checkpoint.manifest.chunks().enumerate().skip(begin);
        let Some((number, chunk)) = chunks.find(|(_, chunk)| !shared(chunk.file)) else {
            return CheckpointScrubbed { bytes: 0, next: following(), skipped: None };
        };
        let read = checkpoint.read(self.env(), chunk);
        let next =
            if checkpoint.is_damaged() { following() } else { Some(CheckpointPlace { index, chunk: number + 1 }) };
        let skipped = read.err().filter(|error| !matches!(error, CheckpointError::Damaged { .. }));
        CheckpointScrubbed { bytes: chunk.bytes, next, skipped }
    }
}

/// Whether a file of `newer` is one of `older`.
fn shares(newer: &Checkpoint, older: &Checkpoint, file: usize) -> bool {
    newer.identities.get(file).is_some_and(|identity| older.identities.contains(identity))
}
