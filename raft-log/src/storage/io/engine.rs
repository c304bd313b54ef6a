//! The I/O thread's work, without the thread.
//!
//! Invariants:
//! * It alone writes segments, manifest and hard state, in the order of the queue.
//! * A callback says `Ok` only after what it stands for is persisted, and never after a failure.
//! * Every record's durable mark is at or below what was synced when its write was issued (hazards 3).

use super::batch::Batch;
use super::indexer::Indexer;
use super::preparer::Preparer;
use super::queue::{AppendJob, Job};
use super::syncer::Syncer;
use super::unsynced::Unsynced;
use super::waiting::Waiting;
use crate::planted::{self, Bug};
use crate::storage::format::record_header::stride_of;
use crate::storage::format::{HeaderFault, RECORD_HEADER_BYTES, RecordHeader};
use crate::storage::hard_state::HardStateFile;
use crate::storage::manifest::Manifest;
use crate::storage::segment::Segment;
use crate::storage::shared::Shared;
use crate::storage::{Done, Durability, HardState, StorageError};
use crate::types::{LogId, LogIndex};
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The segment that is written to.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    /// Where the next record begins.
    pub(crate) offset: u64,
}

/// What an engine starts from, as recovery found it.
pub(crate) struct EngineStart {
    pub(crate) manifest: Manifest,
    pub(crate) hard_state: HardStateFile,
    pub(crate) active: Option<Active>,
    pub(crate) last: Option<LogId>,
    pub(crate) next: LogIndex,
    /// The highest mark on disk, exclusive.
    pub(crate) marked_end: LogIndex,
    /// The saved index of the active segment covers the records before this offset.
    pub(crate) indexed_to: u64,
}

/// See the module.
pub(crate) struct Engine {
    pub(in crate::storage) shared: Arc<Shared>,
    pub(super) manifest: Manifest,
    pub(super) active: Option<Active>,
    /// The last entry and the one after it, as far as the queue is done.
    pub(super) last: Option<LogId>,
    pub(super) next: LogIndex,
    /// Entries below this are covered by a durable mark on disk.
    pub(super) marked_end: LogIndex,
    /// The epoch of what was done last (see [`crate::storage::shared`]).
    pub(in crate::storage) epoch: u64,
    pub(super) preparer: Preparer,
    pub(super) indexer: Indexer,
    /// The index of the active segment that was ordered last covers the records before this offset.
    pub(super) indexed_to: u64,
    hard_state: HardStateFile,
    syncer: Syncer,
    batch: Batch,
    pub(super) unsynced: Unsynced,
    group: Vec<AppendJob>,
    /// Jobs that were taken from the queue and are not done; some of them only while the first one waits for something.
    pub(super) pending: VecDeque<Job>,
    pub(super) waiting: Waiting,
}

impl Engine {
    pub(crate) fn new(
        shared: Arc<Shared>,
        start: EngineStart,
        preparer: Preparer,
        indexer: Indexer,
        syncer: Syncer,
    ) -> Engine {
        let unsynced = Unsynced::new(shared.options.sizes.unsynced_max);
        let engine = Engine {
            shared,
            manifest: start.manifest,
            active: start.active,
            last: start.last,
            next: start.next,
            marked_end: start.marked_end,
            epoch: 0,
            preparer,
            indexer,
            indexed_to: start.indexed_to,
            hard_state: start.hard_state,
            syncer,
            batch: Batch::default(),
            unsynced,
            group: Vec::new(),
            pending: VecDeque::new(),
            waiting: Waiting::default(),
        };
        engine.begin_active();
        engine.count_spares();
        engine
    }

    /// Does all jobs, in the order of [`Job::next`], unless the first one must wait for something that the disk lacks (see [`Waiting`]).
    pub(crate) fn run(&mut self, jobs: &mut VecDeque<Job>) {
        self.pending.append(jobs);
        if !self.may_go_on() {
            return;
        }
        while let Some(job) = Job::next(&mut self.pending) {
            self.perform(job);
            if self.waiting.is_begun() {
                return self.wait();
            }
            self.waiting_is_over();
        }
    }

    pub(super) fn perform(&mut self, job: Job) {
        match job {
            Job::Append(first) => self.append(first),
            Job::HardState { state, done } => {
                let again = |done| Job::HardState { state, done };
                self.finish(done, again, |engine| engine.save_hard_state(state));
            }
            Job::Truncate { first_removed, last, epoch, done } => {
                let again = |done| Job::Truncate { first_removed, last, epoch, done };
                self.finish(done, again, |engine| engine.truncate(first_removed, last, epoch));
            }
            Job::Purge { id, done } => self.finish(done, |done| Job::Purge { id, done }, |engine| engine.purge(id)),
            Job::Release { below, done } => self.release_below(below, done),
            Job::BeginAfter { id, epoch, done } => {
                let again = |done| Job::BeginAfter { id, epoch, done };
                self.finish(done, again, |engine| engine.begin_after(id, epoch));
            }
            Job::Refill { refill, done } => match self.attempt(|engine| engine.refill(&refill)) {
                Some(result) => done(result),
                None => self.pending.push_front(Job::Refill { refill, done }),
            },
        }
    }

    /// How long to wait for jobs before [`Engine::after_pause`] is due; `None` for as long as it takes.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let needs_mark = self.marked_end < self.next && self.active.is_some() && self.shared.lock().failure.is_none();
        let mark = needs_mark.then_some(self.shared.options.idle_before_mark);
        self.waiting.pause(self.shared.env.clock.monotonic()).or(mark)
    }

    /// Nothing came for a while: tries again what waits, or writes the durable mark.
    pub(crate) fn after_pause(&mut self) {
        if self.pending.is_empty() {
            return self.idle();
        }
        self.waiting.is_due();
        self.run(&mut VecDeque::new());
    }

    /// Writes the durable mark, so that all that was acknowledged is known to be.
    pub(crate) fn idle(&mut self) {
        let result = self.attempt(Engine::write_mark);
        self.waiting.forget_attempt();
        drop(result);
    }

    /// Syncs what is only written (`async`).
    pub(crate) fn sync(&mut self) {
        if let Err(error) = self.sync_active() {
            self.shared.fail(error);
        }
    }

    /// Stops: syncs, marks, and refuses what still waits and what may still come.
    pub(crate) fn close(&mut self) {
        self.syncer.stop();
        self.sync();
        self.idle();
        if self.durable_end().is_ok_and(|durable_end| durable_end >= self.next) {
            self.save_index();
        }
        self.indexer.stop();
        self.preparer.stop();
        let stopped = self.shared.fail(StorageError::Stopped);
        for job in std::mem::take(&mut self.pending) {
            job.into_done()(Err(stopped.clone()));
        }
    }

    fn append(&mut self, first: AppendJob) {
        let bytes_max = self.shared.options.batch_bytes_max;
        let mut bytes = first.payload_bytes();
        let mut group = std::mem::take(&mut self.group);
        group.push(first);
        while bytes < bytes_max && matches!(self.pending.front(), Some(Job::Append(_))) {
            let Some(Job::Append(job)) = self.pending.pop_front() else { break };
            bytes += job.payload_bytes();
            group.push(job);
        }
        let result = self.attempt(|engine| engine.write_group(&group));
        self.batch.clear();
        let mut again = Vec::new();
        for job in group.drain(..) {
            let result = match &result {
                Some(result) => result.clone(),
                None if again.is_empty() && job.ends_before(self.next) => Ok(()),
                None => {
                    again.push(job);
                    continue;
                }
            };
            self.shared.counters.unwritten_bytes.fetch_sub(job.payload_bytes() as u64, Relaxed);
            (job.done)(result);
        }
        again.into_iter().rev().for_each(|job| self.pending.push_front(Job::Append(job)));
        self.group = group;
    }

    fn write_group(&mut self, group: &[AppendJob]) -> Result<(), StorageError> {
        let epoch = group.first().expect("a group has a first append").epoch;
        assert!(group.iter().all(|job| job.epoch == epoch), "a truncation ends a group");
        self.epoch = epoch;
        let mut mark = self.durable_end()?;
        if planted::is(Bug::MarkAhead) {
            mark = self.shared.lock().tail.next();
        }
        // Some may have been written before the log had to wait.
        let begun_at = self.next;
        let records = group.iter().flat_map(|job| &job.records).filter(|record| record.id.index >= begun_at);
        for record in records {
            let stride = stride_of(record.payload.len());
            if self.batch.bytes() + stride > self.unsynced.write_bytes_max() {
                self.flush(mark, true)?;
            }
            if !self.has_room(stride) {
                self.flush(mark, true)?;
                self.roll(record.id.index)?;
                mark = record.id.index;
            }
            let active = self.active.as_ref().expect("rolled if there was none");
            self.batch.push(record, active.offset + self.batch.bytes(), active.segment.salt, mark);
        }
        self.flush(mark, self.shared.options.durability == Durability::Sync)?;
        self.save_index_if_due()
    }

    /// Whether a record fits behind the batch, and a mark behind the record.
    fn has_room(&self, stride: u64) -> bool {
        let Some(active) = &self.active else { return false };
        let end = active.offset + self.batch.bytes() + stride + RECORD_HEADER_BYTES as u64;
        end <= active.segment.file_bytes
    }

    /// Writes the batch, syncs if asked to, and says so to readers and watchers.
    fn flush(&mut self, mark: LogIndex, sync: bool) -> Result<(), StorageError> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let shared = &self.shared;
        let segment = active.segment.clone();
        if let Some(last) = self.batch.last() {
            self.preparer.frontier().advance(active.offset + self.batch.bytes());
            let begin = shared.env.clock.monotonic();
            self.batch.write(segment.file.as_ref(), active.offset).map_err(failed("writing", &segment.path))?;
            shared.counters.wrote(self.batch.bytes(), shared.env.clock.monotonic().saturating_sub(begin));
            shared.counters.batches.fetch_add(1, Relaxed);
            shared.counters.records.fetch_add(self.batch.records(), Relaxed);
            active.offset += self.batch.bytes();
            self.last = Some(last);
            self.next = last.index.next();
            self.marked_end = self.marked_end.max(mark);
        }
        let end_offset = active.offset;
        self.unsynced.wrote(self.next, self.batch.bytes(), self.durable_end()?);
        let sync = sync || self.unsynced.is_full();
        if sync && !planted::is(Bug::AckBeforeFsync) {
            self.sync_file(&segment)?;
        }
        let mut state = self.shared.lock();
        if let Some(failure) = &state.failure {
            return Err(StorageError::clone(failure));
        }
        let placed = state.catalog.last_mut().expect("the active segment is in the catalog");
        assert_eq!(placed.segment.base, segment.base, "the active segment is the last");
        self.batch.positions().iter().for_each(|position| placed.positions.note(*position));
        placed.end = self.next;
        placed.end_offset = end_offset;
        if self.epoch == state.epoch {
            state.tail.written(self.next);
        }
        if sync {
            self.shared.publish_durable(&mut state, self.epoch, self.next);
        } else {
            self.syncer.request(segment, self.next, self.epoch);
        }
        drop(state);
        self.batch.clear();
        self.count_room();
        Ok(())
    }

    fn write_mark(&mut self) -> Result<(), StorageError> {
        let durable_end = self.durable_end()?;
        if durable_end <= self.marked_end || durable_end < self.next {
            return Ok(());
        }
        let last = self.last.expect("something is durable, so something was written");
        let Some(active) = &mut self.active else { return Ok(()) };
        let stride = stride_of(0);
        if active.offset + stride > active.segment.file_bytes {
            return self.roll(self.next);
        }
        let segment = active.segment.clone();
        let header = RecordHeader::of_mark(last, active.offset, durable_end);
        self.preparer.frontier().advance(active.offset + stride);
        segment
            .file
            .write_all_at(&header.encode(segment.salt), active.offset)
            .map_err(failed("writing a mark to", &segment.path))?;
        active.offset += stride;
        let end_offset = active.offset;
        self.sync_file(&segment)?;
        self.marked_end = durable_end;
        self.shared.lock().catalog.last_mut().expect("the active segment is in the catalog").end_offset = end_offset;
        self.count_room();
        Ok(())
    }

    fn save_hard_state(&mut self, state: HardState) -> Result<(), StorageError> {
        if self.shared.lock().hard_state == Some(state) {
            return Ok(());
        }
        let path = HardStateFile::path(&self.shared.options.dir);
        let is_new = self.hard_state.is_new();
        let saved = self.hard_state.save(&self.shared.env, state);
        // The file is made as a whole, so it can be made again; in an old one nothing lacks space.
        let saved = if is_new { self.waiting.try_again(saved) } else { saved };
        saved.map_err(failed("saving", &path))?;
        self.shared.lock().hard_state = Some(state);
        Ok(())
    }

    fn purge(&mut self, id: LogId) -> Result<(), StorageError> {
        // What is purged was applied; the entries must not be lost after that is written (hazards 1).
        self.sync_active()?;
        let purged = self.manifest.purged.max(Some(id));
        self.save_manifest(Manifest { purged, ..self.manifest.clone() })?;
        let mut state = self.shared.lock();
        state.purged = state.purged.max(self.manifest.purged);
        Ok(())
    }

    /// Makes everything that is written durable.
    pub(super) fn sync_active(&mut self) -> Result<(), StorageError> {
        let durable_end = self.durable_end()?;
        let Some(active) = &self.active else { return Ok(()) };
        if durable_end >= self.next {
            return Ok(());
        }
        let segment = active.segment.clone();
        self.sync_file(&segment)?;
        let mut state = self.shared.lock();
        self.shared.publish_durable(&mut state, self.epoch, self.next);
        Ok(())
    }

    fn sync_file(&mut self, segment: &Segment) -> Result<(), StorageError> {
        self.shared.sync(segment).map_err(|failure| StorageError::clone(&failure))?;
        self.unsynced.synced();
        Ok(())
    }

    /// Replaces the manifest on disk, then the one in memory. It is written as a whole, so it can be tried again.
    pub(super) fn save_manifest(&mut self, manifest: Manifest) -> Result<(), StorageError> {
        let options = &self.shared.options;
        let saved = manifest.save(&self.shared.env, &options.dir, options.group);
        self.waiting.try_again(saved).map_err(failed("saving", &Manifest::path(&options.dir)))?;
        self.manifest = manifest;
        Ok(())
    }

    /// Where the durable part ends; an error if the log has failed.
    pub(super) fn durable_end(&self) -> Result<LogIndex, StorageError> {
        let state = self.shared.lock();
        match &state.failure {
            Some(failure) => Err(StorageError::clone(failure)),
            None => Ok(state.durable_end),
        }
    }

    /// Does one job unless the log has failed, and tells its caller; or puts it back in front as `again` if it must wait.
    fn finish(
        &mut self,
        done: Done,
        again: impl FnOnce(Done) -> Job,
        job: impl FnOnce(&mut Engine) -> Result<(), StorageError>,
    ) {
        match self.attempt(job) {
            Some(result) => done(result),
            None => self.pending.push_front(again(done)),
        }
    }

    /// Says which segment is active now, and how far it is written.
    pub(super) fn begin_active(&self) {
        let frontier = self.preparer.frontier();
        match &self.active {
            Some(Active { segment, offset }) => frontier.begin(Some(segment.file.clone()), segment.file_bytes, *offset),
            None => frontier.begin(None, 0, 0),
        }
        self.count_room();
    }

    fn count_room(&self) {
        let left = self.active.as_ref().map_or(0, |active| active.segment.file_bytes - active.offset);
        self.shared.counters.active_left_bytes.store(left, Relaxed);
    }
}

/// Turns an I/O error on `file` into the log's.
pub(super) fn failed<'a>(action: &'static str, file: &'a Path) -> impl FnOnce(io::Error) -> StorageError + 'a {
    move |source| StorageError::Io { action, file: file.into(), source: Arc::new(source) }
}

/// A record that must be there is not: reading our own, already synced bytes back went wrong.
pub(super) fn unexpected(fault: HeaderFault, offset: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{fault} at offset {offset}"))
}
