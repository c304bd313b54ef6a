//! The thread that owns the state machine, and the one that does what takes long.
//!
//! ```text
//!   raft thread ──Apply{entries, responders}──► apply thread ──► StateMachine::apply
//!        ▲             (bounded by bytes)           │   responses go straight to the proposers
//!        └── returns once it is queued              │
//!                                                   ├─ flush due, log durable ≥ applied: begin_flush, begin_checkpoint
//!   retention ──Checkpoint, Needed, TrimCommand──►  │                                │ FinishFlush, FinishCheckpoint
//!   a checkpoint is installed ──Restore──────────►  │◄───────── ended ────── flush thread
//! ```
//! Nothing here keeps openraft's core waiting (hazards 37): what is committed is queued and applied in its own time, what
//! waits together is applied together, and flushes and checkpoints take as long as they take on a thread of their own while
//! applying goes on.
//!
//! The state is flushed only once the node's own log is durable through everything applied, because openraft applies what a
//! majority holds even when this node's disk does not hold it yet (hazards 1). A flush persists what was applied when it
//! was begun, so that is when the log must be durable. It is begun at the first moment at which it is; applying waits for
//! such a moment only when there was none for [`BEGIN_PATIENCE`](thread) calls, or when too much waits in memory.

mod applied;
mod flusher;
mod job;
mod restore;
mod thread;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::ApplyResponder;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

pub(crate) use applied::{AppliedIndex, Handover, REQUESTS_WAITING_MAX};
pub(crate) use restore::restore;
pub(crate) use thread::LogProgress;

use job::{Batch, Job, WantedCheckpoint};

use crate::checkpoint::{Checkpoint, Checkpoints};
use crate::exec::{self, Thread};
use crate::raft::type_config::TypeConfig;
use crate::state_machine::{AppliedPoint, ApplyEntry, ApplyError, MakeCommand, PrepareRestore, StateMachine};
use crate::types::{LogIndex, NodeId};

/// Payload bytes that wait to be applied, with [`ENTRY_OVERHEAD_BYTES`] for each entry. What is committed beyond stays in the
/// log until there is room.
const QUEUED_BYTES_MAX: usize = 64 << 20;
/// What an entry counts beside its payload.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// The handle to the thread; clones reach the same one.
#[derive(Clone)]
pub(crate) struct StateWorker {
    /// Applies are bounded by `room`; of the others each caller awaits one before it sends the next.
    jobs: mpsc::UnboundedSender<Job>,
    room: Arc<Semaphore>,
    handover: Handover,
    applied: AppliedIndex,
    failure: watch::Receiver<Option<ApplyError>>,
    /// It ends: nothing waits for space any more.
    stopping: watch::Sender<bool>,
}

impl StateWorker {
    /// Starts the threads. They end after [`finish`](Self::finish), or when all handles are gone.
    pub(crate) fn start(
        node: NodeId,
        machine: Box<dyn StateMachine>,
        log: LogProgress,
    ) -> std::io::Result<(StateWorker, Thread)> {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let (failed, failure) = watch::channel(None);
        let applied = AppliedIndex::new(machine.applied().map(|point| point.id));
        let stopping = watch::Sender::new(false);
        let thread = thread::WorkerThread::new(node, machine, log, applied.clone(), stopping.subscribe())?;
        let joiner = exec::worker(format!("apply-{node}"), async move {
            if let Err(error) = thread.run(inbox).await {
                tracing::error!(%node, %error, "nothing is applied any more");
                failed.send_replace(Some(error));
            }
        })?;
        let room = Arc::new(Semaphore::new(QUEUED_BYTES_MAX));
        Ok((StateWorker { jobs, room, handover: Handover::default(), applied, failure, stopping }, joiner))
    }

    /// How far the state is.
    pub(crate) fn applied(&self) -> &AppliedIndex {
        &self.applied
    }

    /// Whether what is committed has to wait before it is queued.
    pub(crate) fn handover(&self) -> &Handover {
        &self.handover
    }

    /// Becomes `Some` when the state cannot follow the log any more: the node must stop.
    pub(crate) fn failure(&self) -> watch::Receiver<Option<ApplyError>> {
        self.failure.clone()
    }

    /// Queues entries; returns as soon as there is room for them. Their proposers are answered when they are applied.
    pub(crate) async fn apply(
        &self,
        entries: Vec<ApplyEntry>,
        responders: Vec<Option<ApplyResponder<TypeConfig>>>,
    ) -> Result<(), ApplyError> {
        assert_eq!(entries.len(), responders.len(), "each entry has its place for a responder");
        let bytes: usize = entries.iter().map(|entry| entry.payload_bytes() + ENTRY_OVERHEAD_BYTES).sum();
        let share = u32::try_from(bytes.min(QUEUED_BYTES_MAX)).expect("the bound is far below 4 GiB");
        let room = match self.room.clone().try_acquire_many_owned(share) {
            Ok(room) => room,
            Err(_) => {
                let _waiting = self.handover.wait();
                self.room.clone().acquire_many_owned(share).await.map_err(|_| stopped())?
            }
        };
        self.send(Job::Apply(Batch { entries, responders, room }))
    }

    /// The applied point of the state once all that is queued is applied.
    pub(crate) async fn point(&self) -> Result<Option<AppliedPoint>, ApplyError> {
        let (done, receiver) = oneshot::channel();
        self.send(Job::Point { done })?;
        receiver.await.map_err(|_| stopped())
    }

    /// Has the state machine write a checkpoint of exactly what it has applied at some moment from now on; its files are
    /// still to be sealed. `None` if nothing is applied or that checkpoint is there already. An error leaves everything
    /// as it was.
    pub(crate) async fn checkpoint(&self, into: Arc<Checkpoints>) -> Result<Option<AppliedPoint>, ApplyError> {
        let (done, receiver) = oneshot::channel();
        self.send(Job::Checkpoint(WantedCheckpoint { into, done }))?;
        receiver.await.map_err(|_| stopped())?
    }

    /// The long part of a restore, to be called where blocking is allowed; see [`StateMachine::prepare_restore`].
    pub(crate) async fn prepare_restore(&self) -> Result<PrepareRestore, ApplyError> {
        let (done, receiver) = oneshot::channel();
        self.send(Job::PrepareRestore { done })?;
        receiver.await.map_err(|_| stopped())
    }

    /// Replaces the state by a checkpoint, after everything that is queued.
    pub(crate) async fn restore(&self, from: Arc<Checkpoint>) -> Result<(), ApplyError> {
        let (done, receiver) = oneshot::channel();
        self.send(Job::Restore { from, done })?;
        receiver.await.map_err(|_| stopped())?
    }

    /// The first entry that the state machine needs.
    pub(crate) async fn needed_from(&self) -> Result<LogIndex, ApplyError> {
        let (done, receiver) = oneshot::channel();
        self.send(Job::Needed { done })?;
        receiver.await.map_err(|_| stopped())
    }

    /// The command that makes the state machines let go of what is below `to`.
    pub(crate) async fn trim_command(&self, to: LogIndex) -> Result<Option<Bytes>, ApplyError> {
        let (done, receiver) = oneshot::channel();
        self.send(Job::TrimCommand { to, done })?;
        receiver.await.map_err(|_| stopped())
    }

    /// What makes the command that makes them let go of what nobody has yet to read below `to`.
    pub(crate) async fn release_command(&self, to: LogIndex) -> Result<Option<MakeCommand>, ApplyError> {
        let (done, receiver) = oneshot::channel();
        self.send(Job::ReleaseCommand { to, done })?;
        receiver.await.map_err(|_| stopped())
    }

    /// Tells the thread to apply what is queued, flush what it may, drop the state machine and end.
    pub(crate) fn finish(&self) {
        self.stopping.send_replace(true);
        // A thread that has ended already has nothing to finish.
        drop(self.send(Job::Finish));
    }

    fn send(&self, job: Job) -> Result<(), ApplyError> {
        self.jobs.send(job).map_err(|_| stopped())
    }
}

fn stopped() -> ApplyError {
    ApplyError::new("its thread has ended")
}
