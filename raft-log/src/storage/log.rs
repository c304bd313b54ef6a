//! The log's public face.

use super::damage_reports::DamageReports;
use super::done::Done;
use super::error::{OpenError, ReadError, StorageError};
use super::io::{AppendJob, Engine, Indexer, IoThread, Job, Preparer, Syncer, spawn};
use super::layout::SEGMENTS_FOLDER;
use super::opened::Opened;
use super::options::{Durability, StorageOptions};
use super::record::{HardState, Record};
use super::repair::{OpenLost, RangeRequest};
use super::report::{LogBounds, RecoveryReport, SegmentInfo};
use super::room::Room;
use super::scrub::{ScrubPlace, Scrubbed};
use super::shared::Shared;
use super::stats::StorageStats;
use super::stepper::Stepper;
use crate::env::{DiskLock, Env};
use crate::exec;
#[cfg(tercet_sim)]
use crate::sim::observe::{Deed, observe};
use crate::types::{LogId, LogIndex, Term};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// How long a reader waits for the repair of one damaged range, and how many of them it waits for.
const REPAIR_PATIENCE: Duration = Duration::from_secs(10);
const REPAIRS_AWAITED_MAX: u32 = 16;

/// The log. Cheap to clone; all clones are one log, which is shut down with the last of them.
#[derive(Clone)]
pub struct Log {
    handle: Arc<Handle>,
}

/// What must be ended when the last clone goes.
struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<IoThread>>,
    lock: Mutex<Option<Box<dyn DiskLock>>>,
}

impl Log {
    /// Opens or creates the log of `options.dir`. Blocks: it reads the indexes of sealed segments, and checks
    /// every record that no saved index covers (hazards 3).
    pub fn open(env: Env, options: StorageOptions) -> Result<(Log, RecoveryReport), OpenError> {
        let durability = options.durability;
        let folder = options.dir.join(SEGMENTS_FOLDER);
        let opened = Opened::open(env, options)?;
        let shared = opened.shared;
        let starting = |source| OpenError::Io { action: "starting a thread for", file: folder.clone(), source };
        let preparer = Preparer::spawn(shared.clone(), &folder, opened.spares).map_err(starting)?;
        let syncer = match durability {
            Durability::Sync => Syncer::None,
            Durability::Async => Syncer::spawn(shared.clone()).map_err(starting)?,
        };
        let indexer = Indexer::spawn(&shared, &folder).map_err(starting)?;
        let engine = Engine::new(shared.clone(), opened.start, preparer, indexer, syncer);
        let thread = spawn(shared.clone(), engine).map_err(starting)?;
        Ok((Log::new(shared, Some(thread), opened.lock), opened.report))
    }

    /// Opens the log without threads: nothing happens on disk until the [`Stepper`] is told. For simulations.
    pub fn open_stepped(env: Env, options: StorageOptions) -> Result<(Log, Stepper, RecoveryReport), OpenError> {
        let folder = options.dir.join(SEGMENTS_FOLDER);
        let opened = Opened::open(env, options)?;
        let preparer = Preparer::inline(&opened.shared, &folder, opened.spares);
        let indexer = Indexer::inline(&opened.shared, &folder);
        let engine = Engine::new(opened.shared.clone(), opened.start, preparer, indexer, Syncer::None);
        let stepper = Stepper::new(opened.shared.clone(), engine);
        Ok((Log::new(opened.shared, None, opened.lock), stepper, opened.report))
    }

    fn new(shared: Arc<Shared>, thread: Option<IoThread>, lock: Box<dyn DiskLock>) -> Log {
        Log { handle: Arc::new(Handle { shared, thread: Mutex::new(thread), lock: Mutex::new(Some(lock)) }) }
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// Appends records that follow the end of the log. They are readable when this returns; `done` is called when they
    /// are persisted (or never will be). If this returns an error, `done` is dropped uncalled and nothing was changed.
    pub fn append(&self, records: Vec<Record>, done: Done) -> Result<(), StorageError> {
        let shared = self.shared();
        let payload_bytes_max = shared.options.record_payload_bytes_max;
        let mut state = shared.lock();
        state.check_alive()?;
        let mut expected = state.tail.next();
        let mut term = state.last().map_or(Term(0), |last| last.term);
        let mut bytes = 0;
        for record in &records {
            if record.id.index != expected {
                return Err(StorageError::NotContiguous { expected, found: record.id.index });
            }
            if record.id.term < term {
                return Err(StorageError::TermFell { last: term, found: record.id });
            }
            if record.payload.len() > payload_bytes_max {
                let (index, bytes) = (record.id.index, record.payload.len());
                return Err(StorageError::RecordTooLarge { index, bytes, bytes_max: payload_bytes_max });
            }
            expected = expected.next();
            term = record.id.term;
            bytes += record.payload.len() as u64;
        }
        let epoch = state.epoch;
        for record in &records {
            state.terms.push(record.id);
            state.tail.push(record.clone());
        }
        shared.counters.unwritten_bytes.fetch_add(bytes, Relaxed);
        let queued = shared.queue.push(Job::Append(AppendJob { records, epoch, done }));
        assert!(queued.is_ok(), "a log that is alive has an open queue");
        Ok(())
    }

    /// Saves term and vote, synced twice (hazards 4), in order with the appends.
    pub fn save_hard_state(&self, hard_state: HardState, done: Done) -> Result<(), StorageError> {
        let mut state = self.shared().lock();
        state.check_alive()?;
        if hard_state.term < state.queued_term {
            return Err(StorageError::HardStateBehind { saved: state.queued_term, found: hard_state.term });
        }
        state.queued_term = hard_state.term;
        self.push(Job::HardState { state: hard_state, done });
        Ok(())
    }

    /// Removes all entries after `keep` (all, if `None`), in order with the appends. They are gone for readers when
    /// this returns, and for good when `done` is called.
    pub fn truncate_after(&self, keep: Option<LogIndex>, done: Done) -> Result<(), StorageError> {
        let shared = self.shared();
        let mut state = shared.lock();
        state.check_alive()?;
        let from = keep.map_or(LogIndex(0), LogIndex::next);
        if let Some(purged) = state.purged
            && from <= purged.index
        {
            return Err(StorageError::TruncateRefused { from, purged });
        }
        let first_removed = from.max(state.catalog.first().unwrap_or_default()).min(state.tail.next());
        if first_removed < state.tail.next() {
            state.epoch += 1;
            state.tail.truncate(first_removed);
            state.terms.truncate(first_removed);
            let durable_end = state.durable_end.min(first_removed);
            shared.set_durable(&mut state, durable_end);
            #[cfg(tercet_sim)]
            observe(Deed::Truncated(first_removed));
        }
        let (last, epoch) = (state.last(), state.epoch);
        self.push(Job::Truncate { first_removed, last, epoch, done });
        Ok(())
    }

    /// Moves the start that Raft sees behind `id`; deletes nothing. [`Log::bounds`] shows it when `done` is called.
    /// Refused if the log does not hold `id` (hazards 1); at or below the present purge point it changes nothing.
    pub fn purge_to(&self, id: LogId, done: Done) -> Result<(), StorageError> {
        let state = self.shared().lock();
        state.check_alive()?;
        let held = if id.index < state.tail.next() { state.terms.at(id.index) } else { None };
        let known = state.purged.is_some_and(|purged| id <= purged);
        if held != Some(id.term) && !known {
            let held = held.map(|term| LogId { term, index: id.index });
            return Err(StorageError::PurgeRefused { purge: id, held });
        }
        self.push(Job::Purge { id, done });
        Ok(())
    }

    /// Gives up the oldest segments: whole sealed ones whose entries all lie below `index` and are purged. Their entries
    /// are not readable any more when `done` is called. Whoever calls it has made sure that nobody needs them
    /// (hazards 24).
    pub fn release_below(&self, index: LogIndex, done: Done) -> Result<(), StorageError> {
        let state = self.shared().lock();
        state.check_alive()?;
        self.push(Job::Release { below: index, done });
        Ok(())
    }

    /// Begins the log anew behind `id`, which lies beyond its end: an installed checkpoint stands for everything up to
    /// it. All older entries are gone for good when `done` is called, and the next append has the index after `id`.
    /// This is the one way to purge what the log does not hold (hazards 1, 25).
    pub fn begin_after(&self, id: LogId, done: Done) -> Result<(), StorageError> {
        let mut state = self.shared().lock();
        state.check_alive()?;
        if let Some(last) = state.last()
            && (id.index <= last.index || id.term < last.term)
        {
            return Err(StorageError::BeginRefused { begin: id, last });
        }
        state.epoch += 1;
        state.tail.begin(id.index.next());
        state.terms.truncate(LogIndex(0));
        state.purged = Some(id);
        let epoch = state.epoch;
        self.push(Job::BeginAfter { id, epoch, done });
        #[cfg(tercet_sim)]
        observe(Deed::Began(id));
        Ok(())
    }

    /// Queues a job; the caller holds the state's lock, so that the order is the same in memory and in the queue.
    fn push(&self, job: Job) {
        assert!(self.shared().queue.push(job).is_ok(), "a log that is alive has an open queue");
    }

    /// Entries from `from` up to but not including `until`, as many as fit into `bytes_max` of payload, but at least
    /// one if there is any. Blocks on the disk when the cache no longer holds them ([`Log::is_cached`]).
    pub fn read(&self, from: LogIndex, until: LogIndex, bytes_max: usize) -> Result<Vec<Record>, ReadError> {
        loop {
            match self.shared().read(from, until, bytes_max) {
                Ok(Some(records)) => return Ok(records),
                // A truncation came between.
                Ok(None) => {}
                Err(error) => {
                    if let ReadError::Corrupt { index, .. } = &error {
                        self.damage().report(*index);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// [`Log::read`] for tasks that must not block: at once from the cache, else where blocking is allowed. If a replica
    /// repairs this log, a damaged record is waited for, for a while.
    pub async fn fetch(&self, from: LogIndex, until: LogIndex, bytes_max: usize) -> Result<Vec<Record>, ReadError> {
        if self.is_cached(from) {
            return self.read(from, until, bytes_max);
        }
        let mut repairs = 0;
        loop {
            let log = self.clone();
            let read =
                exec::blocking(move || log.read(from, until, bytes_max)).await.map_err(|_| ReadError::Stopped)?;
            match &read {
                Err(ReadError::Corrupt { index, .. }) if repairs < REPAIRS_AWAITED_MAX => {
                    repairs += 1;
                    if !self.damage().settled(*index, REPAIR_PATIENCE).await {
                        return read;
                    }
                }
                _ => return read,
            }
        }
    }

    /// What readers and the scrub report as damaged.
    pub(crate) fn damage(&self) -> &DamageReports {
        &self.shared().damage
    }

    /// One step of the scrub; blocks on the disk.
    pub(crate) fn scrub(&self, place: Option<ScrubPlace>, bytes: u64) -> Scrubbed {
        self.shared().scrub(place, bytes)
    }

    /// The id of the entry at this index, if the log holds it.
    pub(crate) fn id_at(&self, index: LogIndex) -> Option<LogId> {
        let state = self.shared().lock();
        let term = if index < state.tail.next() { state.terms.at(index) } else { None };
        term.map(|term| LogId { term, index })
    }

    /// The damaged ranges near `index`, if there are any. Blocks on the disk.
    pub(crate) fn lost_near(&self, index: LogIndex) -> std::io::Result<Vec<OpenLost>> {
        self.shared().lost_near(index)
    }

    /// What a peer asks for to repair its log, as much as fits; `None` if this log does not hold its anchor. Blocks on
    /// the disk.
    pub(crate) fn matching(&self, request: RangeRequest, bytes_max: usize) -> Result<Option<Vec<Record>>, ReadError> {
        self.shared().matching(request, bytes_max)
    }

    /// Writes entries into the damaged range that they were lost from, in order with the appends. `done` is called when
    /// they stand there and were read back.
    ///
    /// # Errors
    /// When they do not fill the range; nothing is changed then.
    pub(crate) fn refill(&self, lost: OpenLost, records: &[Record], done: Done) -> std::io::Result<()> {
        let Some(refill) = lost.refill(self.shared(), records)? else {
            done(Ok(()));
            return Ok(());
        };
        let state = self.shared().lock();
        state.check_alive().map_err(std::io::Error::other)?;
        self.push(Job::Refill { refill: Box::new(refill), done });
        Ok(())
    }

    /// Whether [`Log::read`] from `from` is served from memory, so without blocking.
    #[must_use]
    pub fn is_cached(&self, from: LogIndex) -> bool {
        from >= self.shared().lock().tail.cache_first()
    }

    /// About how many bytes of records a node lacks whose log ends before `from`.
    pub(crate) fn bytes_from(&self, from: LogIndex) -> u64 {
        self.shared().lock().catalog.bytes_from(from)
    }

    /// Where the log begins and ends, records that are not yet written included.
    #[must_use]
    pub fn bounds(&self) -> LogBounds {
        let state = self.shared().lock();
        LogBounds { purged: state.purged, last: state.last() }
    }

    /// The segments on disk, ascending.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.shared().lock().catalog.segments()
    }

    /// The last index that is synced, in both modes of durability. Falls only at a truncation.
    #[must_use]
    pub fn durable(&self) -> watch::Receiver<Option<LogIndex>> {
        self.shared().durable.subscribe()
    }

    /// The saved hard state.
    #[must_use]
    pub fn hard_state(&self) -> Option<HardState> {
        self.shared().lock().hard_state
    }

    /// Whether the log is shut down or failed.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared().lock().check_alive().is_err()
    }

    /// Becomes `Some` once, when a write or sync failed: the node must stop.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<Arc<StorageError>>> {
        self.shared().failure.subscribe()
    }

    /// Whether there is room for entries that only fill the disk (hazards 9). Looked at a few times a second.
    #[must_use]
    pub fn room(&self) -> watch::Receiver<Room> {
        self.shared().room.subscribe()
    }

    /// Whether the disk has too little for a flush of the state, which would need to be tried again from the start.
    pub(crate) fn scarce(&self) -> watch::Receiver<bool> {
        self.shared().scarce.subscribe()
    }

    /// Payload bytes that were appended and are not written yet.
    pub(crate) fn unwritten_bytes(&self) -> u64 {
        self.shared().counters.unwritten_bytes.load(Relaxed)
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> StorageStats {
        let log_bytes = self.shared().lock().catalog.all().iter().map(|placed| placed.segment.file_bytes).sum();
        StorageStats { log_bytes, ..self.shared().counters.snapshot() }
    }

    /// Adds what was repaired before this log could be opened.
    pub(crate) fn count_repaired(&self, ranges: u64) {
        self.shared().counters.repaired_ranges.fetch_add(ranges, Relaxed);
    }

    /// Writes and syncs what is queued, stops the threads and releases the lock. Blocks until it is done; calls
    /// afterwards fail. From within a callback it does not wait.
    pub fn shutdown(&self) {
        self.handle.shutdown();
    }
}

impl Handle {
    fn shutdown(&self) {
        self.shared.close();
        let thread = self.thread.lock().expect("no thread panics while it holds the handle").take();
        if let Some(thread) = thread {
            // A panic has been reported through `failure`.
            thread.join();
        }
        drop(self.lock.lock().expect("no thread panics while it holds the lock").take());
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shutdown();
    }
}
