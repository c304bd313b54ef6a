//! What runs on the apply thread.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use openraft::storage::ApplyResponder;
use tokio::sync::{mpsc, oneshot, watch};

use super::applied::AppliedIndex;
use super::flusher::Flusher;
use super::job::{Batch, CheckpointMade, Job, WantedCheckpoint};
use super::restore::restore;
use crate::checkpoint::{Checkpoint, Checkpoints};
use crate::planted::{self, Bug};
use crate::raft::type_config::TypeConfig;
use crate::state_machine::{AppliedPoint, ApplyEntry, ApplyError, FinishCheckpoint, FlushNeed, StateMachine};
use crate::storage::StorageError;
use crate::types::{LogId, LogIndex, NodeId};

/// Entries applied at once.
const APPLY_ENTRIES_MAX: usize = 4096;
/// Payload bytes applied at once, one batch more at most.
const APPLY_BYTES_MAX: usize = 8 << 20;
/// Calls of `apply` for which a flush or checkpoint that is due waits for a moment at which the log is durable through what
/// is applied. On a node whose disk is as fast as the others' such moments come all the time; on one whose disk is always
/// behind, applying waits for the disk then.
pub(super) const BEGIN_PATIENCE: u32 = 64;

/// The end of the log that the disk holds, the error that ended it, and whether its disk has too little for a flush.
#[derive(Clone)]
pub(crate) struct LogProgress {
    pub(crate) durable: watch::Receiver<Option<LogIndex>>,
    pub(crate) failure: watch::Receiver<Option<Arc<StorageError>>>,
    pub(crate) scarce: watch::Receiver<bool>,
}

pub(super) struct WorkerThread {
    machine: Box<dyn StateMachine>,
    log: LogProgress,
    applied: AppliedIndex,
    flusher: Flusher,
    /// At most one, so that what it persists is known.
    under_way: Option<UnderWay>,
    checkpoints_wanted: VecDeque<WantedCheckpoint>,
    stopping: watch::Receiver<bool>,
    /// Calls of `apply` since something is due that could not begin.
    put_off: u32,
    /// Taken from the inbox, to be done next.
    next: Option<Job>,
}

/// A flush or checkpoint that is being finished.
struct UnderWay {
    /// What was applied when it began, and what it covers when it has ended well.
    covers: Option<LogId>,
    ended: oneshot::Receiver<Result<(), ApplyError>>,
    checkpoint: Option<(AppliedPoint, CheckpointMade)>,
}

enum Event {
    Ended(Result<(), ApplyError>),
    MayBegin,
    Job(Option<Job>),
}

/// How a job left the thread.
#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

impl WorkerThread {
    pub(super) fn new(
        node: NodeId,
        machine: Box<dyn StateMachine>,
        log: LogProgress,
        applied: AppliedIndex,
        stopping: watch::Receiver<bool>,
    ) -> std::io::Result<WorkerThread> {
        let flusher = Flusher::start(node)?;
        let checkpoints_wanted = VecDeque::new();
        Ok(WorkerThread {
            machine,
            log,
            applied,
            flusher,
            under_way: None,
            checkpoints_wanted,
            stopping,
            put_off: 0,
            next: None,
        })
    }

    /// Does jobs until it is told to finish, or nobody can send any more.
    ///
    /// # Errors
    /// The state cannot follow the log any more.
    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Job>) -> Result<(), ApplyError> {
        let result = self.work(&mut inbox).await;
        // Its store may be opened again once this thread has ended, so nothing of it may be in use on the other.
        self.flusher.stop();
        result
    }

    async fn work(&mut self, inbox: &mut mpsc::UnboundedReceiver<Job>) -> Result<(), ApplyError> {
        loop {
            match self.event(inbox).await {
                Event::Ended(result) => self.ended(result)?,
                Event::MayBegin => self.begin()?,
                Event::Job(None) => return Ok(()),
                Event::Job(Some(job)) => {
                    if self.handle(job, inbox).await? == Next::End {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// What is to be done next. What has ended comes first, so that the next can begin.
    async fn event(&mut self, inbox: &mut mpsc::UnboundedReceiver<Job>) -> Event {
        let begins = self.under_way.is_none() && self.is_due();
        let (applied, ahead) = (self.applied.get(), self.may_run_ahead());
        let next = &mut self.next;
        let job = async {
            match next.take() {
                Some(job) => Some(job),
                None => inbox.recv().await,
            }
        };
        tokio::select! {
            biased;
            result = ended(&mut self.under_way) => Event::Ended(result),
            true = self.log.may_flush(applied.filter(|_| !ahead)), if begins => Event::MayBegin,
            job = job => Event::Job(job),
        }
    }

    async fn handle(&mut self, job: Job, inbox: &mut mpsc::UnboundedReceiver<Job>) -> Result<Next, ApplyError> {
        match job {
            Job::Apply(batch) => {
                self.make_way().await?;
                let batch = self.with_what_waits(batch, inbox);
                self.apply(batch)?;
            }
            // Whoever asked is gone only if the replica stops; so it is with all answers here.
            Job::Point { done } => drop(done.send(self.machine.applied())),
            Job::Checkpoint(wanted) => self.checkpoints_wanted.push_back(wanted),
            Job::PrepareRestore { done } => drop(done.send(self.machine.prepare_restore())),
            Job::Restore { from, done } => {
                let result = self.restore(&from).await;
                let failed = result.clone();
                drop(done.send(result));
                failed?;
            }
            Job::Needed { done } => drop(done.send(self.machine.needed_from())),
            Job::TrimCommand { to, done } => drop(done.send(self.machine.trim_command(to))),
            Job::ReleaseCommand { to, done } => drop(done.send(self.machine.release_command(to))),
            Job::Finish => {
                self.finish().await?;
                return Ok(Next::End);
            }
        }
        Ok(Next::GoOn)
    }

    /// Adds the batches that wait behind this one: a slow state machine gains most by few and large calls.
    fn with_what_waits(&mut self, mut batch: Batch, inbox: &mut mpsc::UnboundedReceiver<Job>) -> Batch {
        let bytes = |batch: &Batch| batch.entries.iter().map(ApplyEntry::payload_bytes).sum::<usize>();
        let mut total = bytes(&batch);
        while batch.entries.len() < APPLY_ENTRIES_MAX && total < APPLY_BYTES_MAX {
            match inbox.try_recv() {
                Ok(Job::Apply(more)) => {
                    total += bytes(&more);
                    batch.entries.extend(more.entries);
                    batch.responders.extend(more.responders);
                    batch.room.merge(more.room);
                }
                Ok(other) => {
                    self.next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        batch
    }

    fn apply(&mut self, batch: Batch) -> Result<(), ApplyError> {
        let Batch { entries, responders, room } = batch;
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
        drop(room);
        answer(responders, responses);
        Ok(())
    }

    /// Whether a flush or checkpoint should begin.
    fn is_due(&self) -> bool {
        !self.checkpoints_wanted.is_empty() || self.machine.flush_need() != FlushNeed::None
    }

    /// Waits before the next entries are applied, if too much waits in memory, or if what is due was put off for too long.
    async fn make_way(&mut self) -> Result<(), ApplyError> {
        let need = self.machine.flush_need();
        if need == FlushNeed::None && self.checkpoints_wanted.is_empty() {
            return Ok(());
        }
        if need != FlushNeed::Overdue {
            self.put_off += u32::from(self.under_way.is_none());
            if self.under_way.is_some() || self.put_off <= BEGIN_PATIENCE || *self.log.scarce.borrow() {
                return Ok(());
            }
        }
        self.end_what_is_under_way().await?;
        if !self.await_space().await? {
            return Ok(());
        }
        if !self.may_run_ahead() {
            self.await_durable().await?;
        }
        self.begin()
    }

    /// Waits until the disk has space for a flush; `false` if the thread is to end instead.
    async fn await_space(&mut self) -> Result<bool, ApplyError> {
        let LogProgress { failure, scarce, .. } = &mut self.log;
        if !*scarce.borrow() {
            return Ok(true);
        }
        tracing::error!("the disk lacks space to persist the state; nothing is applied until there is some");
        tokio::select! {
            biased;
            _ = failure.wait_for(Option::is_some) => Err(ApplyError::new("the log failed before the state could be flushed")),
            _ = self.stopping.wait_for(|stopping| *stopping) => Ok(false),
            _ = scarce.wait_for(|scarce| !scarce) => Ok(true),
        }
    }

    /// Waits until the disk holds every applied entry (hazards 1).
    async fn await_durable(&mut self) -> Result<(), ApplyError> {
        let applied = self.applied.get();
        let LogProgress { durable, failure, .. } = &mut self.log;
        let reached = durable.wait_for(|durable| *durable >= applied).map(|result| result.is_ok());
        let failed = failure.wait_for(Option::is_some).map(|_| false);
        let reached = tokio::select! { biased; reached = reached => reached, failed = failed => failed };
        if reached { Ok(()) } else { Err(ApplyError::new("the log failed before the state could be flushed")) }
    }

    /// A rule that the simulation undoes.
    fn may_run_ahead(&self) -> bool {
        planted::is(Bug::StateAheadOfLog) && self.checkpoints_wanted.is_empty()
    }

    /// Begins what is due. The log is durable through what is applied, and nothing is under way.
    fn begin(&mut self) -> Result<(), ApplyError> {
        assert!(self.under_way.is_none(), "one flush at a time");
        self.put_off = 0;
        while let Some(WantedCheckpoint { into, done }) = self.checkpoints_wanted.pop_front() {
            let Some(point) = self.machine.applied().filter(|point| into.at(point.id).is_none()) else {
                drop(done.send(Ok(None)));
                continue;
            };
            match self.machine.begin_checkpoint() {
                Ok(finish) => {
                    self.start_checkpoint(into, point, finish, done);
                    return Ok(());
                }
                Err(error) => drop(done.send(Err(error))),
            }
        }
        if self.machine.flush_need() == FlushNeed::None {
            return Ok(());
        }
        let finish = self.machine.begin_flush()?;
        let ended = self.flusher.start_work(finish);
        self.under_way = Some(UnderWay { covers: self.applied.id(), ended, checkpoint: None });
        Ok(())
    }

    fn start_checkpoint(
        &mut self,
        into: Arc<Checkpoints>,
        point: AppliedPoint,
        finish: FinishCheckpoint,
        done: CheckpointMade,
    ) {
        let covers = Some(point.id);
        let point = if planted::is(Bug::CheckpointAhead) {
            AppliedPoint { id: LogId { index: point.id.index.next(), ..point.id }, ..point }
        } else {
            point
        };
        let index = point.id.index;
        let folder = into.clone();
        let begun = move || folder.begin(index).map_err(|error| ApplyError::new(error.to_string()));
        if planted::is(Bug::CheckpointUnfinished) {
            let dir = begun();
            drop(done.send(Ok(Some(point))));
            let ended = self.flusher.start_work(move || finish(&dir?));
            self.under_way = Some(UnderWay { covers, ended, checkpoint: None });
            return;
        }
        let ended = self.flusher.start_work(move || {
            let dir = begun()?;
            finish(&dir).inspect_err(|_| into.abandon())
        });
        self.under_way = Some(UnderWay { covers, ended, checkpoint: Some((point, done)) });
    }

    /// What was under way has ended. A checkpoint that failed harms nobody; a flush that failed leaves a store that
    /// cannot persist what it holds.
    fn ended(&mut self, result: Result<(), ApplyError>) -> Result<(), ApplyError> {
        let UnderWay { covers, checkpoint, .. } = self.under_way.take().expect("only what is under way ends");
        assert!(covers <= self.applied.id(), "nothing is persisted that is not applied");
        match checkpoint {
            None => result,
            Some((point, done)) => {
                drop(done.send(result.map(|()| Some(point))));
                Ok(())
            }
        }
    }

    async fn end_what_is_under_way(&mut self) -> Result<(), ApplyError> {
        if self.under_way.is_none() {
            return Ok(());
        }
        let result = ended(&mut self.under_way).await;
        self.ended(result)
    }

    async fn restore(&mut self, from: &Checkpoint) -> Result<(), ApplyError> {
        // It would persist what is replaced.
        self.end_what_is_under_way().await?;
        restore(self.machine.as_mut(), from)?;
        self.applied.set(from.id());
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), ApplyError> {
        self.end_what_is_under_way().await?;
        if *self.log.durable.borrow() < self.applied.get() {
            tracing::warn!("the state is not flushed: the log is not durable through what it applied");
            return Ok(());
        }
        if *self.log.scarce.borrow() {
            tracing::warn!("the state is not flushed: the disk lacks space for that");
            return Ok(());
        }
        if let Err(error) = self.machine.flush() {
            tracing::error!(%error, "the last flush failed; the log will be replayed at the next start");
        }
        Ok(())
    }
}

impl LogProgress {
    /// Waits until the disk has space for a flush, and holds the log through this entry; `false` if the log is gone.
    async fn may_flush(&mut self, applied: Option<LogIndex>) -> bool {
        let room = self.scarce.wait_for(|scarce| !scarce).await.is_ok();
        room && self.durable.wait_for(|durable| *durable >= applied).await.is_ok()
    }
}

/// How what is under way has ended; never, if nothing is.
async fn ended(under_way: &mut Option<UnderWay>) -> Result<(), ApplyError> {
    match under_way {
        Some(UnderWay { ended, .. }) => {
            ended.await.unwrap_or_else(|_| Err(ApplyError::new("the thread that flushes it has ended")))
        }
        None => pending().await,
    }
}

fn answer(responders: Vec<Option<ApplyResponder<TypeConfig>>>, responses: Vec<Bytes>) {
    for (responder, response) in responders.into_iter().zip(responses) {
        if let Some(responder) = responder {
            responder.send(response);
        }
    }
}
