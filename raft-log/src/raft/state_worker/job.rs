//! What the thread that owns the state machine is asked for.

use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::ApplyResponder;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::checkpoint::{Checkpoint, Checkpoints};
use crate::raft::type_config::TypeConfig;
use crate::state_machine::{AppliedPoint, ApplyEntry, ApplyError, MakeCommand, PrepareRestore};
use crate::types::LogIndex;

/// Entries with those who wait for their responses, and their share of the queue.
pub(super) struct Batch {
    pub(super) entries: Vec<ApplyEntry>,
    pub(super) responders: Vec<Option<ApplyResponder<TypeConfig>>>,
    pub(super) room: OwnedSemaphorePermit,
}

/// What the thread is asked for.
pub(super) enum Job {
    Apply(Batch),
    Point { done: oneshot::Sender<Option<AppliedPoint>> },
    Checkpoint(WantedCheckpoint),
    PrepareRestore { done: oneshot::Sender<PrepareRestore> },
    Restore { from: Arc<Checkpoint>, done: oneshot::Sender<Result<(), ApplyError>> },
    Needed { done: oneshot::Sender<LogIndex> },
    TrimCommand { to: LogIndex, done: oneshot::Sender<Option<Bytes>> },
    ReleaseCommand { to: LogIndex, done: oneshot::Sender<Option<MakeCommand>> },
    Finish,
}

pub(super) struct WantedCheckpoint {
    pub(super) into: Arc<Checkpoints>,
    pub(super) done: CheckpointMade,
}

/// Who asked for a checkpoint.
pub(super) type CheckpointMade = oneshot::Sender<Result<Option<AppliedPoint>, ApplyError>>;
