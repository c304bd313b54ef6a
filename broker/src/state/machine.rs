//! The state machine as raft-log drives it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use bytes::Bytes;
use raft_log::types::{LogId, LogIndex};
use raft_log::{
    AppliedPoint, ApplyEntry, ApplyError, ApplyKind, FinishCheckpoint, FinishFlush, FlushNeed, MakeCommand,
    PrepareRestore, StampReader, StateMachine,
};
use rocksdb::WriteBatch;

use super::apply::{Applying, Core};
use super::changes::Changes;
use super::command::{BatchBuilder, entry_stamp, trim_to};
use super::consumption::LATE_MAX;
use super::dead_letter_tally::DeadLettered;
use super::digest::Digest;
use super::fault::Fault;
use super::flush::{FlushTriggers, Unflushed};
use super::keys;
use super::level::Level;
use super::load::{AppliedRecord, load};
use super::planted::{self, Bug};
use super::reader::{Shared, StateReader};
use super::store::{Store, StoreError};
use super::views::StateCounters;
use crate::model::TopicId;

const FORMAT_MAGIC: &[u8; 8] = b"TERCETST";
/// 7: topics list where their queues are, the cluster's record its broker group and level.
const FORMAT_VERSION: u32 = 7;

/// Why the state does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenStateError {
    /// The store does not open, or does not read.
    #[error("the state in {folder} does not open: {reason}", folder = folder.display())]
    Store {
        /// Its folder.
        folder: PathBuf,
        /// What RocksDB says.
        reason: String,
    },
    /// Another version wrote it.
    #[error("the state in {folder} has format {found}, this version reads {known}", folder = folder.display())]
    Version {
        /// Its folder.
        folder: PathBuf,
        /// The format found.
        found: u32,
        /// The format known.
        known: u32,
    },
    /// Its group is at a feature level of newer versions.
    #[error(
        "the state in {folder} is of a group at feature level {found}, this version knows levels up to {known}: a newer version reads it",
        folder = folder.display()
    )]
    Level {
        /// Its folder.
        folder: PathBuf,
        /// The level found.
        found: u32,
        /// The newest level known.
        known: u32,
    },
    /// A record in it is damaged.
    #[error("the state in {folder} is damaged: {reason}", folder = folder.display())]
    Damaged {
        /// Its folder.
        folder: PathBuf,
        /// Which record, and how.
        reason: String,
    },
}

/// The state machine of a broker group. Invariant: what `applied` says is what the working set and the store hold.
#[derive(Debug)]
pub struct State {
    shared: Arc<Shared>,
    applied: Option<AppliedPoint>,
    triggers: FlushTriggers,
    unflushed: Unflushed,
    prepared: Arc<Mutex<Option<Prepared>>>,
    /// After a failed call the working set may be ahead of the store: nothing is applied any more.
    failed: Option<ApplyError>,
}

/// A checkpoint that is ready to take the state's place: its store lies beside the live one, its working set is loaded.
struct Prepared {
    from: PathBuf,
    core: Core,
    applied: Option<AppliedPoint>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("from", &self.from).finish_non_exhaustive()
    }
}

/// What a call of `apply` came to.
struct Applied {
    responses: Vec<Bytes>,
    point: Option<AppliedPoint>,
    available: BTreeSet<TopicId>,
    /// Whether something is deleted and not erased yet.
    erasing: bool,
    /// Changes of topics and groups so far.
    catalog: u64,
    dead_lettered: DeadLettered,
    /// Stored and delivered ones.
    messages: u64,
    /// Ranges of keys that were deleted.
    ranges: u64,
}

impl State {
    /// Opens the state in a folder, made if it is not there.
    ///
    /// # Errors
    /// See [`OpenStateError`]. Nothing is changed then.
    pub fn open(folder: &Path) -> Result<State, OpenStateError> {
        State::open_with(folder, FlushTriggers::default())
    }

    /// [`open`](Self::open), with triggers of its own.
    ///
    /// # Errors
    /// See [`OpenStateError`]. Nothing is changed then.
    pub fn open_with(folder: &Path, triggers: FlushTriggers) -> Result<State, OpenStateError> {
        let unreadable = |error: StoreError| OpenStateError::Store { folder: folder.into(), reason: error.to_string() };
        let store = Store::open(folder).map_err(unreadable)?;
        check_format(&store, folder)?;
        let (core, applied) = load(&store).map_err(|fault| match fault {
            Fault::Store(error) => unreadable(error),
            damage => OpenStateError::Damaged { folder: folder.into(), reason: damage.to_string() },
        })?;
        let applied = applied.map(|record| record.point);
        let shared = Arc::new(Shared::new(core, store));
        Ok(State { shared, applied, triggers, unflushed: Unflushed::default(), prepared: Arc::default(), failed: None })
    }

    /// The view for everybody else; cheap to clone.
    #[must_use]
    pub fn reader(&self) -> StateReader {
        StateReader::new(Arc::clone(&self.shared))
    }

    /// Applies the entries to the working set and writes what they changed, in one batch (hazards 18).
    fn apply_all(&self, entries: &[ApplyEntry]) -> Result<Applied, Fault> {
        let mut core = self.shared.core_mut();
        core.forget_what_is_stored();
        let store = self.shared.store();
        let mut changes = Changes::new(Digest(core.history.latest().map_or(0, |latest| latest.digest)));
        changes.set_level(core.level);
        let (mut available, mut dead_lettered) = (BTreeSet::new(), DeadLettered::new());
        let mut applied = self.applied.clone();
        let before = core.counters;
        let mut responses = Vec::with_capacity(entries.len());
        for entry in entries {
            let last = applied.as_ref().map(|point| point.id);
            assert!(last.is_none_or(|id| id.index.next() == entry.id.index), "entries come without gaps");
            let applying = Applying {
                store: &store,
                changes: &mut changes,
                available: &mut available,
                dead_lettered: &mut dead_lettered,
                id: entry.id,
                command: 0,
            };
            responses.push(apply_one(&mut core, entry, applying)?);
            let membership = match &entry.kind {
                ApplyKind::Membership(members) => Some((entry.id, members.encode())),
                _ => applied.and_then(|point| point.membership),
            };
            applied = Some(AppliedPoint { id: entry.id, membership });
            let digest = *changes.digest();
            core.history.push(entry.id, digest);
        }
        core.write_late_records(LATE_MAX, &mut changes);
        let ranges = changes.ranges();
        let batch = applied.as_ref().map(|point| finish(changes, point.clone(), &core));
        let expired = core.counters.expired_unread - before.expired_unread;
        if expired > 0 {
            tracing::warn!(messages = expired, "retention took messages that consumer groups had not received");
        }
        let messages = |counters: &StateCounters| counters.messages_in + counters.messages_out;
        let messages = messages(&core.counters) - messages(&before);
        let erasing = core.erasures.len() > 0;
        self.shared.publish_level(&core);
        let catalog = core.topics.changed() + core.groups.changed();
        // Nobody waits for the store: what it has not taken in yet is found in memory until the next call.
        drop(core);
        if let Some(batch) = batch {
            store.write(batch)?;
        }
        Ok(Applied { responses, point: applied, available, erasing, catalog, dead_lettered, messages, ranges })
    }
}

impl State {
    /// Gives the store all that it was spared, and begins to persist it.
    fn freeze(&self) -> Result<(), Fault> {
        let mut changes = Changes::new(Digest::default());
        let left = if planted::is(Bug::LateForgotten) { LATE_MAX } else { 0 };
        self.shared.core_mut().write_late_records(left, &mut changes);
        let store = self.shared.store();
        store.write(changes.into_batch())?;
        Ok(store.begin_flush()?)
    }
}

fn apply_one(core: &mut Core, entry: &ApplyEntry, mut applying: Applying<'_>) -> Result<Bytes, Fault> {
    absorb_id(applying.changes.digest(), entry.id);
    match &entry.kind {
        ApplyKind::Blank => Ok(Bytes::new()),
        ApplyKind::Membership(members) => {
            applying.changes.digest().absorb(&members.encode());
            Ok(Bytes::new())
        }
        ApplyKind::Command(payload) => core.apply_entry(payload, &mut applying),
    }
}

fn absorb_id(digest: &mut Digest, id: LogId) {
    digest.absorb_number(id.term.0);
    digest.absorb_number(id.index.0);
}

fn finish(mut changes: Changes, point: AppliedPoint, core: &Core) -> WriteBatch {
    let served_ms = core.producers.served.total_ms;
    let filled = core.needed.filled();
    let record = AppliedRecord { point, clock: core.clock, served_ms, digest: *changes.digest(), filled };
    changes.finish(keys::APPLIED, &record.encode())
}

impl StateMachine for State {
    fn applied(&self) -> Option<AppliedPoint> {
        self.applied.clone()
    }

    fn apply(&mut self, entries: Vec<ApplyEntry>) -> Result<Vec<Bytes>, ApplyError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let begun = Instant::now();
        let applied = self.apply_all(&entries);
        self.shared.apply_seconds.observe(begun.elapsed().as_secs_f64());
        match applied {
            Ok(Applied { responses, point, mut available, erasing, catalog, dead_lettered, messages, ranges }) => {
                self.applied = point;
                self.unflushed.log_bytes += entries.iter().map(payload_bytes).sum::<u64>();
                self.unflushed.messages += messages;
                self.unflushed.ranges += ranges;
                self.shared.events.signal(&mut available);
                self.shared.events.signal_catalog(catalog);
                self.shared.dead_letters.add(dead_lettered);
                if erasing {
                    self.shared.events.signal_erasing();
                }
                Ok(responses)
            }
            Err(fault) => {
                let first = entries.first().map(|entry| entry.id).unwrap_or_default();
                let error = ApplyError::new(format!("in the entries from {first} on: {fault}"));
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    fn flush_need(&self) -> FlushNeed {
        self.triggers.need(self.unflushed, self.shared.store().memtable_bytes())
    }

    fn begin_flush(&mut self) -> Result<FinishFlush, ApplyError> {
        self.freeze()?;
        self.unflushed = Unflushed::default();
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(move || Ok(finish_flush(&shared)?)))
    }

    fn reset(&mut self) -> Result<(), ApplyError> {
        let mut core = self.shared.core_mut();
        let store = self.shared.store();
        store.clear().map_err(Fault::from)?;
        write_format(&store).map_err(Fault::from)?;
        *core = Core::default();
        self.shared.publish_level(&core);
        self.applied = None;
        self.unflushed = Unflushed::default();
        Ok(())
    }

    fn needed_from(&self) -> LogIndex {
        self.shared.core().retained.start
    }

    fn trim_command(&self, to: LogIndex) -> Option<Bytes> {
        let mut batch = BatchBuilder::new().at(self.shared.core().level);
        batch.push(&trim_to(to));
        // The state's own clock: trimming is no moment in the life of a message.
        Some(batch.build(self.shared.core().clock))
    }

    fn release_command(&self, to: LogIndex) -> Option<MakeCommand> {
        let reader = self.reader();
        Some(Box::new(move || {
            let release = reader.release(to).map_err(|error| ApplyError::new(error.to_string()))?;
            Ok(release.map(|release| {
                let mut batch = BatchBuilder::new().at(reader.level());
                batch.push(&release.encode());
                batch.build(reader.clock())
            }))
        }))
    }

    fn stamp_reader(&self) -> Option<StampReader> {
        Some(|payload| entry_stamp(payload).ok())
    }

    fn begin_checkpoint(&mut self) -> Result<FinishCheckpoint, ApplyError> {
        self.freeze()?;
        self.unflushed = Unflushed::default();
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(move |dir| {
            finish_flush(&shared)?;
            // RocksDB wants to make the folder by itself.
            std::fs::remove_dir(dir).map_err(|error| ApplyError::new(format!("{}: {error}", dir.display())))?;
            Ok(shared.store().checkpoint(dir).map_err(Fault::from)?)
        }))
    }

    fn prepare_restore(&self) -> PrepareRestore {
        let (shared, prepared) = (Arc::clone(&self.shared), Arc::clone(&self.prepared));
        Box::new(move |dir| {
            let mut prepared = locked(&prepared);
            *prepared = None;
            *prepared = Some(prepare(&shared, dir)?);
            Ok(())
        })
    }

    fn restore(&mut self, dir: &Path) -> Result<(), ApplyError> {
        let ready = locked(&self.prepared).take().filter(|prepared| prepared.from == dir);
        let Prepared { core, applied, .. } = match ready {
            Some(ready) => ready,
            None => prepare(&self.shared, dir)?,
        };
        let mut live = self.shared.core_mut();
        self.shared.store_mut().restore().map_err(Fault::from)?;
        *live = core;
        self.shared.publish_level(&live);
        self.applied = applied;
        self.unflushed = Unflushed::default();
        self.failed = None;
        Ok(())
    }
}

fn locked(prepared: &Mutex<Option<Prepared>>) -> MutexGuard<'_, Option<Prepared>> {
    prepared.lock().expect("preparing does not panic, or the process is about to end")
}

/// Makes the checkpoint in `dir` ready beside the live state, which is in use meanwhile.
fn prepare(shared: &Shared, dir: &Path) -> Result<Prepared, ApplyError> {
    let folder = shared.store().folder().to_owned();
    let store = Store::prepare(&folder, dir).map_err(Fault::from)?;
    check_format(&store, dir).map_err(|error| ApplyError::new(error.to_string()))?;
    let (core, applied) = load(&store)?;
    Ok(Prepared { from: dir.to_owned(), core, applied: applied.map(|record| record.point) })
}

fn finish_flush(shared: &Shared) -> Result<(), Fault> {
    let store = shared.store();
    store.finish_flush()?;
    store.remove_replaced()?;
    drop(store);
    shared.core_mut().counters.flushes += 1;
    Ok(())
}

fn payload_bytes(entry: &ApplyEntry) -> u64 {
    match &entry.kind {
        ApplyKind::Command(payload) => payload.len() as u64,
        ApplyKind::Blank | ApplyKind::Membership(_) => 0,
    }
}

fn format_record(version: u32) -> [u8; 12] {
    let mut record = [0; 12];
    record[..8].copy_from_slice(FORMAT_MAGIC);
    record[8..].copy_from_slice(&version.to_le_bytes());
    record
}

/// Writes the format record at once; nothing else waits in the memtable then.
fn write_format(store: &Store) -> Result<(), StoreError> {
    let mut batch = WriteBatch::default();
    batch.put(keys::FORMAT, format_record(FORMAT_VERSION));
    store.write(batch)?;
    store.flush()
}

fn check_format(store: &Store, folder: &Path) -> Result<(), OpenStateError> {
    let unreadable = |error: StoreError| OpenStateError::Store { folder: folder.into(), reason: error.to_string() };
    let damaged = |reason: &str| OpenStateError::Damaged { folder: folder.into(), reason: reason.into() };
    match store.get(keys::FORMAT).map_err(unreadable)? {
        None if store.get(keys::APPLIED).map_err(unreadable)?.is_some() => Err(damaged("it has no format record")),
        None => write_format(store).map_err(unreadable),
        Some(record) => {
            let Some((magic, version)) = record.split_first_chunk::<8>() else {
                return Err(damaged("its format record is short"));
            };
            let version: Option<[u8; 4]> = version.try_into().ok();
            match version.map(u32::from_le_bytes) {
                Some(FORMAT_VERSION) if magic == FORMAT_MAGIC => check_level(store, folder),
                Some(found) if magic == FORMAT_MAGIC => {
                    Err(OpenStateError::Version { folder: folder.into(), found, known: FORMAT_VERSION })
                }
                _ => Err(damaged("its format record is no such record")),
            }
        }
    }
}

/// Before anything else is read: what a newer level brought, this version would take for damage. The record's layout never changes.
fn check_level(store: &Store, folder: &Path) -> Result<(), OpenStateError> {
    let unreadable = |error: StoreError| OpenStateError::Store { folder: folder.into(), reason: error.to_string() };
    let Some(record) = store.get(keys::LEVEL).map_err(unreadable)? else { return Ok(()) };
    match <[u8; 4]>::try_from(&record[..]).map(u32::from_le_bytes) {
        Ok(found) if Level::known(found).is_some() => Ok(()),
        Ok(found) => Err(OpenStateError::Level { folder: folder.into(), found, known: Level::NEWEST.number() }),
        Err(_) => {
            Err(OpenStateError::Damaged { folder: folder.into(), reason: "its level record is no such record".into() })
        }
    }
}
