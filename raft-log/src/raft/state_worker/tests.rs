#![cfg(not(tercet_sim))]

use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc as std_mpsc;

use futures::FutureExt as _;
use openraft::EntryPayload;
use openraft::storage::{EntryResponder, RaftStateMachine as _};

use super::thread::BEGIN_PATIENCE;
use super::*;
use crate::env::OpenMode;
use crate::env::sim::SimEnv;
use crate::raft::state_adapter::StateAdapter;
use crate::raft::type_config::{RaftEntry, raft_log_id};
use crate::state_machine::{ApplyKind, FinishCheckpoint, FinishFlush, FlushNeed};
use crate::storage::{Log, StorageError, StorageOptions};
use crate::types::{GroupId, LogId, Term};

/// What a test decides about the state machine, and sees of it.
struct Seen {
    need: FlushNeed,
    applied: Option<AppliedPoint>,
    /// What each flush or checkpoint persisted, in the order in which they were finished.
    persisted: Vec<Option<LogIndex>>,
    /// The size of each call of `apply`.
    calls: Vec<usize>,
    /// Flushes that have begun.
    begun: usize,
    /// What was applied when the last of them began.
    covered: Option<AppliedPoint>,
    /// While `Some`, the next flush or checkpoint takes until the sender is dropped.
    hold_flush: Option<std_mpsc::Receiver<()>>,
    hold_apply: Option<std_mpsc::Receiver<()>>,
    flush_fails: bool,
}

/// Its state is where it stands.
#[derive(Clone)]
struct Machine(Arc<Mutex<Seen>>);

impl Machine {
    fn new(need: FlushNeed) -> Machine {
        Machine(Arc::new(Mutex::new(Seen {
            need,
            applied: None,
            persisted: Vec::new(),
            calls: Vec::new(),
            begun: 0,
            covered: None,
            hold_flush: None,
            hold_apply: None,
            flush_fails: false,
        })))
    }

    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn persisted(&self) -> Vec<Option<LogIndex>> {
        self.seen(|seen| seen.persisted.clone())
    }

    /// Makes the next flush take until the answer is dropped.
    fn hold_flush(&self) -> std_mpsc::Sender<()> {
        let (hold, held) = std_mpsc::channel();
        self.seen(|seen| seen.hold_flush = Some(held));
        hold
    }

    fn hold_apply(&self) -> std_mpsc::Sender<()> {
        let (hold, held) = std_mpsc::channel();
        self.seen(|seen| seen.hold_apply = Some(held));
        hold
    }

    fn begin(&self) -> (Machine, Option<AppliedPoint>) {
        self.seen(|seen| {
            seen.begun += 1;
            seen.covered = seen.applied.clone();
            (self.clone(), seen.applied.clone())
        })
    }

    fn finish(&self, point: Option<&AppliedPoint>) -> Result<(), ApplyError> {
        let hold = self.seen(|seen| seen.hold_flush.take());
        if let Some(hold) = hold {
            let _ = hold.recv();
        }
        self.seen(|seen| {
            seen.persisted.push(point.map(|point| point.id.index));
            if seen.flush_fails { Err(ApplyError::new("it was told to fail")) } else { Ok(()) }
        })
    }
}

impl StateMachine for Machine {
    fn applied(&self) -> Option<AppliedPoint> {
        self.seen(|seen| seen.applied.clone())
    }

    fn apply(&mut self, entries: Vec<ApplyEntry>) -> Result<Vec<Bytes>, ApplyError> {
        let hold = self.seen(|seen| seen.hold_apply.take());
        if let Some(hold) = hold {
            let _ = hold.recv();
        }
        self.seen(|seen| {
            seen.calls.push(entries.len());
            seen.applied = entries.last().map(|entry| AppliedPoint { id: entry.id, membership: None });
        });
        Ok(vec![Bytes::new(); entries.len()])
    }

    fn flush_need(&self) -> FlushNeed {
        self.seen(|seen| match seen.need {
            FlushNeed::Overdue if seen.applied.is_some() => FlushNeed::Overdue,
            FlushNeed::Due if seen.applied != seen.covered => FlushNeed::Due,
            _ => FlushNeed::None,
        })
    }

    fn begin_flush(&mut self) -> Result<FinishFlush, ApplyError> {
        let (machine, point) = self.begin();
        Ok(Box::new(move || machine.finish(point.as_ref())))
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

    fn begin_checkpoint(&mut self) -> Result<FinishCheckpoint, ApplyError> {
        let (machine, point) = self.begin();
        Ok(Box::new(move |dir| {
            machine.finish(point.as_ref())?;
            let file = checkpoint_env().disk.open(&dir.join("at"), OpenMode::CreateNew);
            drop(file);
            Ok(())
        }))
    }

    fn restore(&mut self, _dir: &Path) -> Result<(), ApplyError> {
        Err(ApplyError::new("it makes no checkpoints"))
    }
}

fn checkpoint_env() -> crate::env::Env {
    SimEnv::new(1).env()
}

struct Bench {
    worker: StateWorker,
    joiner: Thread,
    machine: Machine,
    durable: watch::Sender<Option<LogIndex>>,
    failure: watch::Sender<Option<Arc<StorageError>>>,
    scarce: watch::Sender<bool>,
}

fn bench(need: FlushNeed, durable: Option<LogIndex>) -> Bench {
    let (durable, durable_receiver) = watch::channel(durable);
    let (failure, failure_receiver) = watch::channel(None);
    let machine = Machine::new(need);
    let scarce = watch::Sender::new(false);
    let log = LogProgress { durable: durable_receiver, failure: failure_receiver, scarce: scarce.subscribe() };
    let (worker, joiner) = StateWorker::start(NodeId(1), Box::new(machine.clone()), log).unwrap();
    Bench { worker, joiner, machine, durable, failure, scarce }
}

impl Bench {
    /// Queues entry `index`.
    async fn apply(&self, index: u64) {
        let id = LogId { term: Term(1), index: LogIndex(index) };
        self.worker.apply(vec![ApplyEntry { id, kind: ApplyKind::Blank }], vec![None]).await.unwrap();
    }

    async fn applied(&self, index: u64) {
        self.worker.applied().reached(LogIndex(index)).await;
    }

    async fn until(&self, what: impl Fn(&mut Seen) -> bool) {
        while !self.machine.seen(&what) {
            tokio::task::yield_now().await;
        }
    }
}

const FAR: Option<LogIndex> = Some(LogIndex(u64::MAX));

fn indexes(indexes: &[u64]) -> Vec<Option<LogIndex>> {
    indexes.iter().map(|index| Some(LogIndex(*index))).collect()
}

// Hazards 1: openraft applies what a majority holds; the state is persisted only when this node's disk holds it too.
#[tokio::test]
async fn a_flush_begins_only_when_the_log_is_durable_through_what_is_applied() {
    let bench = bench(FlushNeed::Due, Some(LogIndex(0)));
    bench.apply(0).await;
    bench.until(|seen| seen.persisted.len() == 1).await;
    let hold = bench.machine.hold_apply();
    bench.apply(1).await;
    bench.machine.seen(|seen| seen.begun = 0);
    drop(hold);
    // The entry is applied and visible at once; only its flush waits for the disk.
    bench.applied(1).await;
    assert!(bench.worker.point().await.unwrap().is_some(), "the thread has been idle since");
    assert_eq!(bench.machine.seen(|seen| seen.begun), 0);
    bench.durable.send(Some(LogIndex(1))).unwrap();
    bench.until(|seen| seen.persisted.ends_with(&indexes(&[1]))).await;
}

// Hazards 37, 1: a flush takes as long as it takes; applying goes on, and what is applied meanwhile is not part of it.
#[tokio::test]
async fn applying_goes_on_while_a_flush_takes_long_and_the_flush_covers_what_it_began_with() {
    let bench = bench(FlushNeed::None, FAR);
    let hold = bench.machine.hold_flush();
    bench.apply(0).await;
    bench.applied(0).await;
    bench.machine.seen(|seen| seen.need = FlushNeed::Due);
    bench.apply(1).await;
    bench.until(|seen| seen.begun == 1).await;
    bench.machine.seen(|seen| seen.need = FlushNeed::None);
    for index in 2..100 {
        bench.apply(index).await;
    }
    bench.applied(99).await;
    assert!(bench.machine.persisted().is_empty(), "the flush is still under way");
    drop(hold);
    bench.until(|seen| !seen.persisted.is_empty()).await;
    let persisted = bench.machine.persisted();
    assert!(persisted == indexes(&[0]) || persisted == indexes(&[1]), "{persisted:?}");
}

#[tokio::test]
async fn one_flush_at_a_time() {
    let bench = bench(FlushNeed::Due, FAR);
    let hold = bench.machine.hold_flush();
    for index in 0..20 {
        bench.apply(index).await;
    }
    bench.applied(19).await;
    bench.until(|seen| seen.begun > 0).await;
    assert!(bench.worker.point().await.unwrap().is_some(), "the thread has had its chance to begin another");
    assert_eq!(bench.machine.seen(|seen| seen.begun), 1);
    drop(hold);
    bench.until(|seen| seen.persisted.ends_with(&indexes(&[19]))).await;
}

// Memory is bounded: when far too much waits for a flush, applying waits for it.
#[tokio::test]
async fn with_too_much_in_memory_applying_waits_for_the_flush_under_way() {
    let bench = bench(FlushNeed::Due, FAR);
    let hold = bench.machine.hold_flush();
    bench.apply(0).await;
    bench.until(|seen| seen.begun == 1).await;
    bench.machine.seen(|seen| seen.need = FlushNeed::Overdue);
    bench.apply(1).await;
    assert_eq!(bench.worker.applied().get(), Some(LogIndex(0)));
    tokio::task::yield_now().await;
    assert_eq!(bench.machine.seen(|seen| seen.calls.len()), 1, "it waits, and whoever queued it does not");
    drop(hold);
    bench.applied(1).await;
    assert_eq!(bench.machine.persisted()[0], Some(LogIndex(0)));
}

// A leader whose own disk is always behind never sees a moment at which its log is durable through what it applied.
#[tokio::test]
async fn a_flush_that_was_put_off_for_too_long_is_waited_for() {
    let bench = bench(FlushNeed::Due, None);
    // Before the first entry nothing is due.
    let next = u64::from(BEGIN_PATIENCE) + 1;
    for index in 0..next {
        bench.apply(index).await;
        bench.applied(index).await;
    }
    bench.apply(next).await;
    assert_eq!(bench.machine.seen(|seen| seen.begun), 0);
    bench.durable.send(Some(LogIndex(next - 1))).unwrap();
    bench.applied(next).await;
    assert_eq!(bench.machine.seen(|seen| seen.begun), 1, "it began before the entry was applied");
}

#[tokio::test]
async fn what_waits_is_applied_together() {
    let bench = bench(FlushNeed::None, FAR);
    let hold = bench.machine.hold_apply();
    bench.apply(0).await;
    bench.until(|seen| seen.hold_apply.is_none()).await;
    for index in 1..50 {
        bench.apply(index).await;
    }
    drop(hold);
    bench.applied(49).await;
    assert_eq!(bench.machine.seen(|seen| seen.calls.clone()), [1, 49]);
}

#[tokio::test]
async fn a_checkpoint_is_of_the_moment_at_which_it_began() {
    let bench = bench(FlushNeed::None, FAR);
    let folder = Arc::new(Checkpoints::open(&checkpoint_env(), Path::new("/data"), GroupId(7)).unwrap());
    bench.apply(0).await;
    bench.applied(0).await;
    let hold = bench.machine.hold_flush();
    let (worker, into) = (bench.worker.clone(), folder.clone());
    let made = tokio::spawn(async move { worker.checkpoint(into).await });
    bench.until(|seen| seen.begun == 1).await;
    bench.apply(1).await;
    bench.applied(1).await;
    assert!(!made.is_finished());
    drop(hold);
    let point = made.await.unwrap().unwrap().unwrap();
    assert_eq!((point.id.index, bench.machine.persisted()), (LogIndex(0), indexes(&[0])));
}

#[tokio::test]
async fn a_flush_that_failed_stops_the_node() {
    let bench = bench(FlushNeed::Due, FAR);
    bench.machine.seen(|seen| seen.flush_fails = true);
    bench.apply(0).await;
    bench.worker.failure().wait_for(Option::is_some).await.unwrap();
    bench.joiner.join();
    assert!(bench.worker.point().await.is_err());
}

#[tokio::test]
async fn a_failed_log_ends_the_wait_without_a_flush() {
    let bench = bench(FlushNeed::Overdue, None);
    bench.apply(0).await;
    bench.applied(0).await;
    bench.apply(1).await;
    bench.failure.send(Some(Arc::new(StorageError::Stopped))).unwrap();
    bench.worker.failure().wait_for(Option::is_some).await.unwrap();
    bench.joiner.join();
    assert!(bench.machine.persisted().is_empty());
}

// Hazards 9: a store that meets a full disk within a flush stops its node, so none begins on one that is nearly full.
#[tokio::test]
async fn no_flush_begins_while_the_disk_is_scarce() {
    let bench = bench(FlushNeed::Due, FAR);
    bench.scarce.send_replace(true);
    for index in 0..u64::from(BEGIN_PATIENCE) + 2 {
        bench.apply(index).await;
        bench.applied(index).await;
    }
    assert!(bench.machine.persisted().is_empty(), "it is put off for however long");
    bench.scarce.send_replace(false);
    bench.until(|seen| !seen.persisted.is_empty()).await;
    bench.worker.finish();
    bench.joiner.join();
}

#[tokio::test]
async fn a_worker_that_waits_for_space_ends_when_it_is_told_to() {
    let bench = bench(FlushNeed::Overdue, FAR);
    bench.scarce.send_replace(true);
    bench.apply(0).await;
    bench.applied(0).await;
    bench.apply(1).await;
    bench.apply(2).await;
    tokio::task::yield_now().await;
    assert_eq!(bench.worker.applied().get(), Some(LogIndex(0)), "memory is bounded");
    bench.worker.finish();
    bench.joiner.join();
    assert_eq!(bench.worker.applied().get(), Some(LogIndex(2)), "what was queued is applied before");
    assert!(bench.machine.persisted().is_empty());
}

#[tokio::test]
async fn the_last_flush_is_left_out_when_the_log_is_behind() {
    for (durable, persisted) in [(0, Vec::new()), (1, indexes(&[1]))] {
        let bench = bench(FlushNeed::None, Some(LogIndex(durable)));
        bench.apply(0).await;
        bench.apply(1).await;
        bench.worker.finish();
        bench.joiner.join();
        assert_eq!(bench.machine.persisted(), persisted, "what was queued is applied before");
    }
}

// Hazards 37: a step of openraft's core ends when what is committed is queued, however long it takes to be applied.
#[tokio::test]
async fn what_is_committed_is_handed_over_and_not_waited_for() {
    let bench = bench(FlushNeed::None, FAR);
    let hold = bench.machine.hold_apply();
    let (env, group) = (checkpoint_env(), GroupId(7));
    let checkpoints = Arc::new(Checkpoints::open(&env, Path::new("/data"), group).unwrap());
    let (log, _stepper, _) = Log::open_stepped(env, StorageOptions::new("/data", group)).unwrap();
    let mut adapter = StateAdapter::new(bench.worker.clone(), checkpoints, log);
    let committed = |index| -> std::io::Result<EntryResponder<TypeConfig>> {
        let log_id = raft_log_id(LogId { term: Term(1), index: LogIndex(index) });
        Ok((RaftEntry { log_id, payload: EntryPayload::Blank }, None))
    };
    let handed_over = adapter.apply(futures::stream::iter((0..3).map(committed))).now_or_never();
    assert!(matches!(handed_over, Some(Ok(()))), "{handed_over:?}");
    assert_eq!(bench.worker.applied().get(), None);
    drop(hold);
    bench.applied(2).await;
}

// Hazards 37: while nothing more can be queued, only so many requests come in, so that the core's own channel has room.
#[tokio::test]
async fn a_full_queue_keeps_entries_out_and_lets_heartbeats_in() {
    let bench = bench(FlushNeed::None, FAR);
    let hold = bench.machine.hold_apply();
    let entry = |index| ApplyEntry {
        id: LogId { term: Term(1), index: LogIndex(index) },
        kind: ApplyKind::Command(Bytes::from(vec![0; QUEUED_BYTES_MAX])),
    };
    bench.worker.apply(vec![entry(0)], vec![None]).await.unwrap();
    let worker = bench.worker.clone();
    let full = tokio::spawn(async move { worker.apply(vec![entry(1)], vec![None]).await });
    let handover = bench.worker.handover().clone();
    while !handover.is_full() {
        tokio::task::yield_now().await;
    }
    for _ in 0..REQUESTS_WAITING_MAX {
        handover.admit(true).await;
    }
    handover.admit(false).await;
    let admitted = tokio::spawn(async move { handover.admit(true).await });
    tokio::task::yield_now().await;
    assert!(!admitted.is_finished());
    drop(hold);
    full.await.unwrap().unwrap();
    admitted.await.unwrap();
}
