//! The thread that owns the state machine.
//!
//! ```text
//!   raft thread ──Apply{entries, responders}──► this thread ──► StateMachine::apply
//!        ▲                                          │   responses go straight to the proposers
//!        └───────────────── done ───────────────────┘   wants_flush? wait until durable ≥ applied, then flush
//!   retention ──Checkpoint, Needed, TrimCommand──► between two applies; Restore when a checkpoint is installed
//! ```
//! Applying blocks on the user's store, and flushing may take long; on its own thread neither delays a heartbeat. The
//! state is flushed only once the node's own log is durable through everything applied, because openraft applies what a
//! majority holds even when this node's disk does not hold it yet (hazards 1).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt as _;
use openraft::storage::ApplyResponder;
use tokio::sync::{mpsc, oneshot, watch};

use crate::checkpoint::{Checkpoint, Checkpoints};
use crate::exec::{self, Thread};
use crate::planted::{self, Bug};
use crate::raft::type_config::TypeConfig;
use crate::state_machine::{AppliedPoint, ApplyEntry, ApplyError, StateMachine};
use crate::storage::StorageError;
use crate::types::{LogId, LogIndex, NodeId};

/// Jobs that wait for the thread. openraft and retention each send one after the other, so two are the most.
const JOBS_MAX: usize = 4;

/// The end of the log that the disk holds, and the error that ended it.
#[derive(Clone)]
pub(crate) struct LogProgress {
    pub(crate) durable: watch::Receiver<Option<LogIndex>>,
    pub(crate) failure: watch::Receiver<Option<Arc<StorageError>>>,
}

/// The applied index, shared with readers: 0 for nothing, else index + 1.
#[derive(Clone, Default)]
pub(crate) struct AppliedIndex(Arc<AtomicU64>);

impl AppliedIndex {
    pub(crate) fn get(&self) -> Option<LogIndex> {
        self.0.load(Ordering::Acquire).checked_sub(1).map(LogIndex)
    }

    fn set(&self, id: LogId) {
        self.0.store(id.index.next().0, Ordering::Release);
    }
}

enum Job {
    Apply {
        entries: Vec<ApplyEntry>,
        responders: Vec<Option<ApplyResponder<TypeConfig>>>,
        done: oneshot::Sender<Result<(), ApplyError>>,
    },
    Point {
        done: oneshot::Sender<Option<AppliedPoint>>,
    },
    Checkpoint {
        into: Arc<Checkpoints>,
        done: oneshot::Sender<Result<Option<AppliedPoint>, ApplyError>>,
    },
    Restore {
        from: Arc<Checkpoint>,
        done: oneshot::Sender<Result<(), ApplyError>>,
    },
    Needed {
        done: oneshot::Sender<LogIndex>,
    },
    TrimCommand {
        to: LogIndex,
        done: oneshot::Sender<Option<Bytes>>,
    },
    Finish,
}

/// The handle to the thread; clones reach the same one.
#[derive(Clone)]
pub(crate) struct StateWorker {
    jobs: mpsc::Sender<Job>,
    applied: AppliedIndex,
}

impl StateWorker {
    /// Starts the thread. It ends after [`finish`](Self::finish), or when all handles are gone.
    pub(crate) fn start(
        node: NodeId,
        machine: Box<dyn StateMachine>,
        log: LogProgress,
    ) -> std::io::Result<(StateWorker, Thread)> {
        let (jobs, inbox) = mpsc::channel(JOBS_MAX);
        let applied = AppliedIndex::default();
        if let Some(point) = machine.applied() {
            applied.set(point.id);
        }
        let thread = WorkerThread { machine, log, applied: applied.clone() };
        let joiner = exec::worker(format!("apply-{node}"), thread.run(inbox))?;
        Ok((StateWorker { jobs, applied }, joiner))
    }

    pub(crate) fn applied(&self) -> &AppliedIndex {
        &self.applied
    }

    /// Applies entries and answers their proposers; returns when it is done.
    pub(crate) async fn apply(
        &self,
        entries: Vec<ApplyEntry>,
        responders: Vec<Option<ApplyResponder<TypeConfig>>>,
    ) -> Result<(), ApplyError> {
        assert_eq!(entries.len(), responders.len(), "each entry has its place for a responder");
        let (done, receiver) = oneshot::channel();
        self.send(Job::Apply { entries, responders, done }).await?;
        receiver.await.map_err(|_| stopped())?
    }

    /// The applied point of the state now.
    pub(crate) async fn point(&self) -> Result<Option<AppliedPoint>, ApplyError> {
        let (done, receiver) = oneshot::channel();
        self.send(Job::Point { done }).await?;
        receiver.await.map_err(|_| stopped())
    }

    /// Has the state machine write a checkpoint of what it has applied, at a moment when nothing is applied; its files are
    /// still to be sealed. `None` if nothing is applied or that checkpoint is there already. An error leaves everything
    /// as it was.
    pub(crate) async fn checkpoint(&self, into: Arc<Checkpoints>) -> Result<Option<AppliedPoint>, ApplyError> {
        let (done, receiver) = oneshot::channel();
        self.send(Job::Checkpoint { into, done }).await?;
        receiver.await.map_err(|_| stopped())?
    }

    /// Replaces the state by a checkpoint.
    pub(crate) async fn restore(&self, from: Arc<Checkpoint>) -> Result<(), ApplyError> {
        let (done, receiver) = oneshot::channel();
        self.send(Job::Restore { from, done }).await?;
        receiver.await.map_err(|_| stopped())?
    }

    /// The first entry that the state machine needs.
    pub(crate) async fn needed_from(&self) -> Result<LogIndex, ApplyError> {
        let (done, receiver) = oneshot::channel();
        self.send(Job::Needed { done }).await?;
        receiver.await.map_err(|_| stopped())
    }

    /// The command that makes the state machines let go of what is below `to`.
    pub(crate) async fn trim_command(&self, to: LogIndex) -> Result<Option<Bytes>, ApplyError> {
        let (done, receiver) = oneshot::channel();
        self.send(Job::TrimCommand { to, done }).await?;
        receiver.await.map_err(|_| stopped())
    }

    /// Tells the thread to flush what it may, drop the state machine and end.
    pub(crate) fn finish(&self) {
        // A thread that has ended already has nothing to finish. The inbox has room: openraft and
        // retention have stopped, and each awaits one job before it sends the next.
        drop(self.jobs.try_send(Job::Finish));
    }

    /// Does not wait for long: openraft awaits each apply before it sends the next, so the inbox has room.
    async fn send(&self, job: Job) -> Result<(), ApplyError> {
        self.jobs.send(job).await.map_err(|_| stopped())
    }
}

fn stopped() -> ApplyError {
    ApplyError::new("its thread has ended")
}

struct WorkerThread {
    machine: Box<dyn StateMachine>,
    log: LogProgress,
    applied: AppliedIndex,
}

impl WorkerThread {
    async fn run(mut self, mut inbox: mpsc::Receiver<Job>) {
        while let Some(job) = inbox.recv().await {
            match job {
                Job::Apply { entries, responders, done } => {
                    let result = match self.apply(entries, responders) {
                        Ok(()) => self.flush_if_wanted().await,
                        failed => failed,
                    };
                    let failed = result.is_err();
                    // openraft stopped waiting only if it stopped itself.
                    drop(done.send(result));
                    if failed {
                        return;
                    }
                }
                // Whoever asked is gone only if the replica stops.
                Job::Point { done } => drop(done.send(self.machine.applied())),
                Job::Checkpoint { into, done } => drop(done.send(self.checkpoint(&into).await)),
                Job::Restore { from, done } => {
                    let result = self.restore(&from);
                    let failed = result.is_err();
                    drop(done.send(result));
                    if failed {
                        return;
                    }
                }
                Job::Needed { done } => drop(done.send(self.machine.needed_from())),
                Job::TrimCommand { to, done } => drop(done.send(self.machine.trim_command(to))),
                Job::Finish => {
                    self.finish();
                    return;
                }
            }
        }
    }

    fn apply(
        &mut self,
        entries: Vec<ApplyEntry>,
        responders: Vec<Option<ApplyResponder<TypeConfig>>>,
    ) -> Result<(), ApplyError> {
        let (Some(first), Some(last)) = (entries.first().map(|e| e.id), entries.last().map(|e| e.id)) else {
            return Ok(());
        };
        let expected = self.applied.get().map_or(LogIndex(0), LogIndex::next);
        assert_eq!(first.index, expected, "entries are applied in order and without gaps");
        let count = entries.len();
        let responses = self.machine.apply(entries)?;
        if responses.len() != count {
            return Err(ApplyError::new(format!("{} responses to {count} entries", responses.len())));
        }
        self.applied.set(last);
        answer(responders, responses);
        Ok(())
    }

    async fn flush_if_wanted(&mut self) -> Result<(), ApplyError> {
        if !self.machine.wants_flush() {
            return Ok(());
        }
        if !planted::is(Bug::StateAheadOfLog) {
            self.await_durable().await?;
        }
        self.machine.flush()
    }

    /// Waits until the disk holds every applied entry (hazards 1).
    async fn await_durable(&mut self) -> Result<(), ApplyError> {
        let applied = self.applied.get();
        let LogProgress { durable, failure } = &mut self.log;
        let reached = durable.wait_for(|durable| *durable >= applied).map(|result| result.is_ok());
        let failed = failure.wait_for(Option::is_some).map(|_| false);
        let reached = tokio::select! { biased; reached = reached => reached, failed = failed => failed };
        if reached { Ok(()) } else { Err(ApplyError::new("the log failed before the state could be flushed")) }
    }

    async fn checkpoint(&mut self, into: &Checkpoints) -> Result<Option<AppliedPoint>, ApplyError> {
        let Some(point) = self.machine.applied().filter(|point| into.at(point.id).is_none()) else { return Ok(None) };
        // It persists the state, and must never say more than this node's log holds (hazards 1).
        self.await_durable().await?;
        let point = if planted::is(Bug::CheckpointAhead) {
            AppliedPoint { id: LogId { index: point.id.index.next(), ..point.id }, ..point }
        } else {
            point
        };
        let dir = into.begin(point.id.index).map_err(|error| ApplyError::new(error.to_string()))?;
        let written = self.machine.checkpoint(&dir);
        if written.is_err() {
            into.abandon();
        }
        written.map(|()| Some(point))
    }

    fn restore(&mut self, from: &Checkpoint) -> Result<(), ApplyError> {
        restore(self.machine.as_mut(), from)?;
        self.applied.set(from.id());
        Ok(())
    }

    fn finish(&mut self) {
        if *self.log.durable.borrow() < self.applied.get() {
            tracing::warn!("the state is not flushed: the log is not durable through what it applied");
            return;
        }
        if let Err(error) = self.machine.flush() {
            tracing::error!(%error, "the last flush failed; the log will be replayed at the next start");
        }
    }
}

/// Replaces the state by a checkpoint, whose bytes were verified.
///
/// # Errors
/// The state machine refused, or restored something else.
pub(crate) fn restore(machine: &mut dyn StateMachine, from: &Checkpoint) -> Result<(), ApplyError> {
    machine.restore(&from.state())?;
    let found = machine.applied().map(|point| point.id);
    if found != Some(from.id()) && !planted::is(Bug::CheckpointAhead) {
        return Err(ApplyError::new(format!("checkpoint {} was restored as {found:?}", from.id())));
    }
    Ok(())
}

fn answer(responders: Vec<Option<ApplyResponder<TypeConfig>>>, responses: Vec<Bytes>) {
    for (responder, response) in responders.into_iter().zip(responses) {
        if let Some(responder) = responder {
            responder.send(response);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_machine::ApplyKind;
    use crate::types::Term;
    use std::path::Path;
    use std::sync::atomic::AtomicUsize;

    /// Wants a flush after each batch and counts them.
    struct Eager {
        applied: Option<AppliedPoint>,
        flushes: Arc<AtomicUsize>,
    }

    impl StateMachine for Eager {
        fn applied(&self) -> Option<AppliedPoint> {
            self.applied.clone()
        }

        fn apply(&mut self, entries: Vec<ApplyEntry>) -> Result<Vec<Bytes>, ApplyError> {
            self.applied = entries.last().map(|entry| AppliedPoint { id: entry.id, membership: None });
            Ok(vec![Bytes::new(); entries.len()])
        }

        fn wants_flush(&self) -> bool {
            true
        }

        fn flush(&mut self) -> Result<(), ApplyError> {
            self.flushes.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }

        fn reset(&mut self) -> Result<(), ApplyError> {
            Ok(())
        }

        fn needed_from(&self) -> LogIndex {
            LogIndex(0)
        }

        fn trim_command(&self, _to: LogIndex) -> Option<Bytes> {
            None
        }

        fn checkpoint(&mut self, _dir: &Path) -> Result<(), ApplyError> {
            Err(ApplyError::new("it makes no checkpoints"))
        }

        fn restore(&mut self, _dir: &Path) -> Result<(), ApplyError> {
            Err(ApplyError::new("it makes no checkpoints"))
        }
    }

    struct Bench {
        worker: StateWorker,
        joiner: Thread,
        durable: watch::Sender<Option<LogIndex>>,
        failure: watch::Sender<Option<Arc<StorageError>>>,
        flushes: Arc<AtomicUsize>,
    }

    fn bench(durable: Option<LogIndex>) -> Bench {
        let (durable, durable_receiver) = watch::channel(durable);
        let (failure, failure_receiver) = watch::channel(None);
        let flushes = Arc::new(AtomicUsize::new(0));
        let machine = Box::new(Eager { applied: None, flushes: flushes.clone() });
        let log = LogProgress { durable: durable_receiver, failure: failure_receiver };
        let (worker, joiner) = StateWorker::start(NodeId(1), machine, log).unwrap();
        Bench { worker, joiner, durable, failure, flushes }
    }

    async fn apply(worker: &StateWorker, index: u64) -> Result<(), ApplyError> {
        let id = LogId { term: Term(1), index: LogIndex(index) };
        worker.apply(vec![ApplyEntry { id, kind: ApplyKind::Blank }], vec![None]).await
    }

    // Hazards 1: openraft applies what a majority holds; the state is persisted only when this node's disk holds it too.
    #[tokio::test]
    async fn the_state_is_flushed_only_when_the_log_is_durable_through_it() {
        let bench = bench(Some(LogIndex(0)));
        apply(&bench.worker, 0).await.unwrap();
        assert_eq!(bench.flushes.load(Ordering::SeqCst), 1);

        let worker = bench.worker.clone();
        let applying = tokio::spawn(async move { apply(&worker, 1).await });
        // The entry is applied and visible at once; only its flush waits for the disk.
        while bench.worker.applied().get() != Some(LogIndex(1)) {
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.flushes.load(Ordering::SeqCst), 1);
        assert!(!applying.is_finished());
        bench.durable.send(Some(LogIndex(1))).unwrap();
        applying.await.unwrap().unwrap();
        assert_eq!(bench.flushes.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_failed_log_ends_the_wait_without_a_flush() {
        let bench = bench(None);
        let worker = bench.worker.clone();
        let applying = tokio::spawn(async move { apply(&worker, 0).await });
        bench.failure.send(Some(Arc::new(StorageError::Stopped))).unwrap();
        assert!(applying.await.unwrap().is_err());
        bench.joiner.join();
        assert_eq!(bench.flushes.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn the_last_flush_is_left_out_when_the_log_is_behind() {
        let bench = bench(Some(LogIndex(0)));
        apply(&bench.worker, 0).await.unwrap();
        let worker = bench.worker.clone();
        let applying = tokio::spawn(async move { apply(&worker, 1).await });
        bench.durable.send(Some(LogIndex(1))).unwrap();
        applying.await.unwrap().unwrap();
        bench.durable.send(Some(LogIndex(0))).unwrap();
        bench.worker.finish();
        bench.joiner.join();
        assert_eq!(bench.flushes.load(Ordering::SeqCst), 2);
    }
}
