//! A log on a simulated machine, and short words for what tests do with it.

use bytes::Bytes;
use raft_log::env::sim::{Crash, SimDisk, SimEnv};
use raft_log::storage::{
    Done, HardState, Log, OpenError, Record, RecordKind, RecoveryReport, Stepper, StorageError, StorageOptions,
};
use raft_log::types::{GroupId, LogId, LogIndex, NodeId, Term};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub(crate) const DIR: &str = "/data";
pub(crate) const GROUP: GroupId = GroupId(3);

/// Outcomes of calls, in the order of their callbacks.
pub(crate) type Outcomes = Arc<Mutex<Vec<Result<(), Arc<StorageError>>>>>;

pub(crate) fn options() -> StorageOptions {
    StorageOptions {
        segment_bytes_max: 16 << 10,
        record_payload_bytes_max: 8 << 10,
        cache_bytes_max: 0,
        ..StorageOptions::new(DIR, GROUP)
    }
}

pub(crate) fn id(term: u64, index: u64) -> LogId {
    LogId { term: Term(term), index: LogIndex(index) }
}

/// A payload that only this (term, index) has.
pub(crate) fn payload(term: u64, index: u64, bytes: usize) -> Bytes {
    let stamp = term.to_le_bytes().into_iter().chain(index.to_le_bytes());
    stamp.cycle().take(bytes).collect()
}

pub(crate) fn record(term: u64, index: u64, bytes: usize) -> Record {
    Record::new(id(term, index), RecordKind::Command, 1, payload(term, index, bytes))
}

pub(crate) fn records(term: u64, range: std::ops::Range<u64>, bytes: usize) -> Vec<Record> {
    range.map(|index| record(term, index, bytes)).collect()
}

pub(crate) fn voted(term: u64) -> HardState {
    HardState { term: Term(term), voted_for: Some(NodeId(term % 3 + 1)), committed: true }
}

pub(crate) fn segment(base: u64) -> PathBuf {
    Path::new(DIR).join("log").join(format!("{base:020}.seg"))
}

/// A stepped log on a simulated machine.
pub(crate) struct Node {
    pub(crate) sim: SimEnv,
    pub(crate) options: StorageOptions,
    pub(crate) log: Log,
    pub(crate) stepper: Stepper,
    pub(crate) report: RecoveryReport,
    pub(crate) outcomes: Outcomes,
}

impl Node {
    /// A new node, with the hard state of term 9 saved so that records of any term up to it may be appended.
    pub(crate) fn new() -> Node {
        let mut node = Node::open(SimEnv::new(1), options()).expect("an empty folder opens");
        node.vote(9);
        node
    }

    pub(crate) fn open(sim: SimEnv, options: StorageOptions) -> Result<Node, OpenError> {
        let (log, stepper, report) = Log::open_stepped(sim.env(), options.clone())?;
        Ok(Node { sim, options, log, stepper, report, outcomes: Outcomes::default() })
    }

    /// The power goes off and on; the log is opened again.
    pub(crate) fn crash(self, crash: Crash) -> Result<Node, OpenError> {
        self.sim.disk.crash(crash);
        Node::open(self.sim.clone(), self.options.clone())
    }

    /// Everything that was done is marked durable, then the power goes off; gives the disk, without saved indexes, so that
    /// all of it is scanned.
    pub(crate) fn stop_marked(mut self) -> Arc<SimDisk> {
        self.stepper.idle();
        self.sim.disk.crash(Crash::LoseUnsynced);
        forget_indexes(&self.sim.disk);
        self.sim.disk.clone()
    }

    pub(crate) fn done(&self) -> Done {
        let outcomes = self.outcomes.clone();
        Box::new(move |result| outcomes.lock().unwrap().push(result))
    }

    /// Queues an append without stepping.
    pub(crate) fn queue(&self, records: Vec<Record>) {
        self.log.append(records, self.done()).unwrap();
    }

    /// Appends and waits until it is persisted.
    pub(crate) fn append(&mut self, records: Vec<Record>) {
        self.queue(records);
        self.step_ok();
    }

    pub(crate) fn vote(&mut self, term: u64) {
        self.log.save_hard_state(voted(term), self.done()).unwrap();
        self.step_ok();
    }

    pub(crate) fn truncate_after(&mut self, keep: u64) {
        self.log.truncate_after(Some(LogIndex(keep)), self.done()).unwrap();
        self.step_ok();
    }

    pub(crate) fn step_ok(&mut self) {
        self.stepper.step();
        for outcome in self.outcomes.lock().unwrap().drain(..) {
            outcome.unwrap();
        }
    }

    pub(crate) fn last(&self) -> Option<LogId> {
        self.log.bounds().last
    }

    pub(crate) fn durable(&self) -> Option<u64> {
        self.log.durable().borrow().map(|index| index.0)
    }

    /// All entries that are on disk, read back.
    pub(crate) fn all(&self) -> Vec<Record> {
        self.read_from(self.first())
    }

    pub(crate) fn purge_to(&mut self, id: LogId) {
        self.log.purge_to(id, self.done()).unwrap();
        self.step_ok();
    }

    pub(crate) fn release_below(&mut self, index: u64) {
        self.log.release_below(LogIndex(index), self.done()).unwrap();
        self.step_ok();
    }

    pub(crate) fn begin_after(&mut self, id: LogId) {
        self.log.begin_after(id, self.done()).unwrap();
        self.step_ok();
    }

    pub(crate) fn bases(&self) -> Vec<u64> {
        self.log.segments().iter().map(|segment| segment.base.0).collect()
    }

    pub(crate) fn read_from(&self, first: u64) -> Vec<Record> {
        self.log.read(LogIndex(first), LogIndex(u64::MAX), usize::MAX).unwrap()
    }

    pub(crate) fn files(&self, end: &str) -> Vec<String> {
        use raft_log::env::Disk as _;
        let names = self.sim.disk.list(&Path::new(DIR).join("log")).unwrap();
        names.into_iter().filter(|name| name.ends_with(end)).collect()
    }

    /// The first entry that is on disk, or would be.
    pub(crate) fn first(&self) -> u64 {
        let behind_purged = || self.log.bounds().purged.map_or(0, |purged| purged.index.0 + 1);
        self.bases().first().copied().unwrap_or_else(behind_purged)
    }
}

/// Entries of 1,000 bytes that fit into one segment of the tests' size.
pub(crate) const PER_SEGMENT: u64 = 11;

/// A node with five segments of equal records.
pub(crate) fn five_segments() -> Node {
    let mut node = Node::new();
    (0..PER_SEGMENT * 5).for_each(|index| node.append(vec![record(1, index, 1_000)]));
    assert_eq!(node.bases(), [0, 11, 22, 33, 44]);
    node
}

/// Removes all saved indexes.
pub(crate) fn forget_indexes(disk: &SimDisk) {
    use raft_log::env::Disk as _;
    let folder = Path::new(DIR).join("log");
    for name in disk.list(&folder).unwrap().iter().filter(|name| name.ends_with(".idx")) {
        disk.delete(&folder.join(name));
    }
}

/// Opens a copy of what is on `disk`, which stays as it is.
pub(crate) fn open_copy(disk: &SimDisk, options: StorageOptions) -> Result<Node, OpenError> {
    let sim = SimEnv { disk: Arc::new(disk.fork()), ..SimEnv::new(2) };
    Node::open(sim, options)
}

/// The error of opening a copy of what is on `disk`.
pub(crate) fn open_error(disk: &SimDisk) -> OpenError {
    match open_copy(disk, options()) {
        Ok(node) => panic!("it opened, with {:?}", node.report),
        Err(error) => error,
    }
}

/// Copies a folder of the real disk.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
