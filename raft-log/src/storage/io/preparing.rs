//! The worker of the [`Preparer`](super::Preparer): makes the next file, zeroes, removes released ones, and watches the
//! room on the disk.

use super::desk::{Desk, Inner, POISONED, Ready};
use super::frontier::{Claim, Frontier};
use super::load::Load;
use super::prepared::{Prepared, create, is_full};
use super::removal::Removal;
use crate::env::File;
use crate::planted::{self, Bug};
use crate::storage::StorageError;
use crate::storage::room::{DiskUse, Room, Space, is_scarce};
use crate::storage::shared::Shared;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Zeroing of the next segment begins when this part (1/n) of the active one is used.
const ZERO_AFTER_FRACTION: u64 = 8;

/// How often a waiting preparer looks at the active segment, or tries again after an error.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What the worker holds.
pub(super) struct Inside {
    pub(super) desk: Arc<Desk>,
    pub(super) shared: Arc<Shared>,
    pub(super) frontier: Arc<Frontier>,
    pub(super) load: Load,
}

/// The most urgent thing to do.
enum Task {
    Nothing,
    Remove(Removal),
    Create,
    ZeroActive(Claim),
    ZeroNext(Arc<dyn File>, u64),
}

/// How long to do nothing, and why.
#[derive(Clone, Copy, Default)]
struct Rest {
    pause: Duration,
    failed: bool,
}

impl Inside {
    pub(super) fn run(&self, path: &Path, bytes: u64) {
        let mut rest = Rest::default();
        while let Some(task) = self.next_task(rest) {
            rest = self.perform(task, path, bytes);
        }
        self.remove_the_rest();
    }

    /// Does it, and says how long to rest.
    fn perform(&self, task: Task, path: &Path, bytes: u64) -> Rest {
        let begin = self.shared.env.clock.monotonic();
        let idle = matches!(task, Task::Nothing);
        let done = match task {
            Task::Nothing => Ok(()),
            Task::Remove(removal) => {
                if let Some(left) = removal.step(self.shared.env.disk.as_ref()) {
                    self.desk.lock().removals.go_on(left);
                }
                Ok(())
            }
            Task::Create => self.create(path, bytes),
            Task::ZeroActive(claim) => self.zero_active(&claim),
            Task::ZeroNext(file, at) => self.zero_next(file.as_ref(), at, bytes),
        };
        let failed = done.is_err();
        if let Err(error) = done
            && !is_full(&error)
        {
            tracing::warn!(file = %path.display(), %error, "space for the log cannot be prepared; trying again");
        }
        self.watch_room();
        // Rest as long as it took, so that appends keep at least half of the disk.
        let pause = if idle || failed { LOOK_AGAIN } else { self.shared.env.clock.monotonic().saturating_sub(begin) };
        Rest { pause, failed }
    }

    /// Waits out the rest, less if a file is wanted and nothing failed before; says what to do. `None` ends the thread.
    fn next_task(&self, Rest { pause, failed }: Rest) -> Option<Task> {
        let inner = self.desk.lock();
        let rest = |inner: &mut Inner| !inner.stop && (failed || !inner.lacks_file());
        let (mut inner, _) = self.desk.changed.wait_timeout_while(inner, pause, rest).expect(POISONED);
        self.choose(&mut inner)
    }

    /// A stopped log leaves nothing to remove behind.
    fn remove_the_rest(&self) {
        loop {
            let removal = self.desk.lock().removals.next();
            let Some(removal) = removal else { return };
            removal.finish(self.shared.env.disk.as_ref());
        }
    }

    /// What is most urgent; `None` when it is to end.
    fn choose(&self, inner: &mut Inner) -> Option<Task> {
        if inner.stop {
            return None;
        }
        // First, because it is what others wait for when the disk is full.
        if let Some(removal) = inner.removals.next() {
            return Some(Task::Remove(removal));
        }
        if inner.lacks_file() {
            inner.working = true;
            return Some(Task::Create);
        }
        let written = self.shared.counters.bytes_written.load(Relaxed);
        if self.load.is_busy(self.shared.env.clock.monotonic(), written) {
            return Some(Task::Nothing);
        }
        if let Some(claim) = self.frontier.claim() {
            return Some(Task::ZeroActive(claim));
        }
        let left = self.shared.counters.active_left_bytes.load(Relaxed);
        let Some(ready) = &inner.ready else { return Some(Task::Nothing) };
        let bytes = ready.prepared.bytes;
        let due = (1..bytes - bytes / ZERO_AFTER_FRACTION).contains(&left);
        if !due || ready.zeroed_to >= bytes {
            return Some(Task::Nothing);
        }
        let task = Task::ZeroNext(ready.prepared.file.clone(), ready.zeroed_to);
        inner.working = true;
        Some(task)
    }

    /// Judges how much room there is, and says so when it changes.
    fn watch_room(&self) {
        let starved = self.desk.lock().starved;
        let shared = &self.shared;
        let (disk, dir) = (&shared.env.disk, &shared.options.dir);
        let disk = match (disk.free_bytes(dir), disk.total_bytes(dir)) {
            (Ok(free_bytes), Ok(total_bytes)) => DiskUse { free_bytes, total_bytes },
            _ => DiskUse::UNKNOWN,
        };
        let allocated_bytes = shared.counters.snapshot().allocated_bytes;
        let space = Space { disk, allocated_bytes, starved };
        self.desk.lock().crowded = disk.is_above(shared.options.disk_high_water_percent);
        shared.scarce.send_if_modified(|scarce| {
            let before = std::mem::replace(scarce, is_scarce(*scarce, disk, &shared.options));
            before != *scarce
        });
        shared.room.send_if_modified(|room| {
            let before = *room;
            *room = before.judge(space, &shared.options);
            let dir = shared.options.dir.display();
            match (before, *room) {
                (Room::Enough, Room::Low) => {
                    tracing::error!(%dir, ?space, "the disk is nearly full; publishes are refused");
                }
                (Room::Low, Room::Enough) => tracing::info!(%dir, ?space, "the disk has room again"),
                _ => {}
            }
            before != *room
        });
    }

    fn create(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let made = self.create_beside_the_reserve(path, bytes);
        let mut inner = self.desk.lock();
        inner.working = false;
        inner.starved = made.as_ref().is_err_and(is_full);
        self.desk.changed.notify_all();
        let prepared = made?;
        inner.ready = Some(Ready { prepared, zeroed_to: 0 });
        self.shared.counters.prepared_bytes.store(bytes, Relaxed);
        Ok(())
    }

    /// The reserve is not for the segment after this one.
    fn create_beside_the_reserve(&self, path: &Path, bytes: u64) -> io::Result<Prepared> {
        let Shared { env, options, .. } = &*self.shared;
        if env.disk.free_bytes(&options.dir)? < bytes + options.reserve_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        create(env, path, bytes)
    }

    fn zero_next(&self, file: &dyn File, at: u64, bytes: u64) -> io::Result<()> {
        let end = bytes.min(at + self.shared.options.sizes.zero_chunk);
        let zeroed = file.zero(at, end - at).and_then(|()| file.sync_data());
        let mut inner = self.desk.lock();
        inner.working = false;
        match &mut inner.ready {
            Some(ready) if zeroed.is_ok() => ready.zeroed_to = end,
            // After a failed sync nothing is known of the file, not even its length on disk: another one is made.
            _ => (inner.ready, inner.wanted) = (None, true),
        }
        self.desk.changed.notify_all();
        zeroed
    }

    /// A failed sync may concern records of the I/O thread, whatever the error (hazards 31): the log is dead before anybody
    /// else can have synced the file.
    fn fail_active(&self, error: &io::Error) {
        if is_full(error) && planted::is(Bug::SyncErrorShared) {
            return;
        }
        let file = self.shared.options.dir.clone();
        let source = Arc::new(io::Error::new(error.kind(), error.to_string()));
        self.shared.fail(StorageError::Io { action: "zeroing the active segment in", file, source });
    }

    fn zero_active(&self, claim: &Claim) -> io::Result<()> {
        let (start, end) = (claim.range.start, claim.range.end);
        // What is written already was zeroed before, perhaps by an earlier process.
        let zeroed = match claim.file.next_data(start) {
            Ok(data) if data < end => Ok(()),
            Ok(_) => self.zero_apart(claim),
            Err(error) => Err(error),
        };
        self.frontier.release(claim, !zeroed.as_ref().is_err_and(is_full));
        zeroed
    }

    /// Zeroes and syncs through an open file of its own, so that the I/O thread's keeps its own errors (hazards 31). A write
    /// of zeroes that fails costs nobody a record.
    fn zero_apart(&self, claim: &Claim) -> io::Result<()> {
        let file = if planted::is(Bug::SyncErrorShared) { claim.file.clone() } else { claim.file.reopen()? };
        file.zero(claim.range.start, claim.range.end - claim.range.start)?;
        file.sync_data().inspect_err(|error| self.fail_active(error))
    }
}

#[cfg(test)]
mod tests {
    use super::super::prepared::PREPARED_NAME;
    use super::*;
    use crate::env::OpenMode;
    use crate::env::sim::{Fault, FaultKind, SimEnv};
    use crate::storage::opened::Opened;
    use crate::storage::{Sizes, StorageOptions};
    use crate::types::GroupId;

    const SEGMENT: &str = "/d/log/a.seg";

    /// A worker beside an active segment that is written through the file.
    fn rig() -> (SimEnv, Inside, Arc<dyn File>) {
        let sim = SimEnv::new(1);
        let sizes = Sizes { zero_margin: 0, zero_ahead: 1 << 20, zero_chunk: 8 << 10, ..Sizes::default() };
        let options = StorageOptions { sizes, ..StorageOptions::new("/d", GroupId(1)) };
        let shared = Opened::open(sim.env(), options).unwrap().shared;
        let file = sim.env().disk.open(SEGMENT.as_ref(), OpenMode::CreateNew).unwrap();
        file.allocate(1 << 20).unwrap();
        file.sync_all().unwrap();
        let frontier = Arc::new(Frontier::new(sizes));
        frontier.begin(Some(file.clone()), 1 << 20, 4_096);
        (sim, Inside { desk: Arc::default(), shared, frontier, load: Load::default() }, file)
    }

    fn fault(kind: FaultKind) -> Fault {
        Fault { error: io::ErrorKind::StorageFull, ..Fault::once(kind, SEGMENT) }
    }

    #[test]
    fn a_failed_sync_of_zeroes_fails_the_log_even_for_want_of_space_and_the_writer_is_told_as_well() {
        let (sim, inside, writer) = rig();
        inside.frontier.advance(8_192);
        writer.write_all_at(b"a record", 4_096).unwrap();
        sim.disk.order(fault(FaultKind::Sync));
        let claim = inside.frontier.claim().unwrap();
        assert!(inside.zero_active(&claim).is_err());
        assert!(inside.shared.lock().failure.is_some(), "nothing is acknowledged any more");
        assert_eq!(writer.sync_data().unwrap_err().kind(), io::ErrorKind::StorageFull, "the record is not on disk");
    }

    #[cfg(tercet_sim)]
    #[test]
    fn without_a_file_of_its_own_the_error_of_the_zeroes_is_lost() {
        planted::plant(Some(Bug::SyncErrorShared));
        let noticed = std::panic::catch_unwind(
            a_failed_sync_of_zeroes_fails_the_log_even_for_want_of_space_and_the_writer_is_told_as_well,
        );
        planted::plant(None);
        assert!(noticed.is_err());
    }

    #[test]
    fn an_error_that_the_system_met_by_itself_is_left_to_the_writer() {
        let (sim, inside, writer) = rig();
        inside.frontier.advance(8_192);
        writer.write_all_at(b"a record", 4_096).unwrap();
        sim.disk.fail_write_back(SEGMENT.as_ref(), io::ErrorKind::StorageFull);
        let claim = inside.frontier.claim().unwrap();
        drop(inside.zero_active(&claim));
        assert!(writer.sync_data().is_err());
    }

    // Hazards 31: the segment's first sync would be told nothing of zeroes that are lost, nor of a length that is.
    #[test]
    fn a_prepared_file_whose_zeroes_did_not_sync_never_becomes_a_segment() {
        let (sim, inside, _writer) = rig();
        inside.create(&Path::new("/d/log").join(PREPARED_NAME), 1 << 20).unwrap();
        let file = inside.desk.lock().ready.as_ref().unwrap().prepared.file.clone();
        sim.disk.order(Fault::once(FaultKind::Sync, PREPARED_NAME));
        assert!(inside.zero_next(file.as_ref(), 0, 1 << 20).is_err());
        let inner = inside.desk.lock();
        assert!(inner.ready.is_none() && inner.wanted, "another one is made");
    }

    #[test]
    fn zeroes_for_which_there_is_no_space_cost_nothing_and_are_tried_again() {
        let (sim, inside, writer) = rig();
        sim.disk.order(fault(FaultKind::Write));
        let claim = inside.frontier.claim().unwrap();
        assert!(inside.zero_active(&claim).is_err());
        assert!(inside.shared.lock().failure.is_none());
        writer.sync_data().unwrap();
        let again = inside.frontier.claim().unwrap();
        assert_eq!(again.range, claim.range);
        inside.zero_active(&again).unwrap();
    }

    // Hazards 9: whoever persists the state looks at it before each flush.
    #[test]
    fn a_disk_with_less_than_half_of_the_reserve_is_told_to_be_scarce() {
        let (sim, inside, _writer) = rig();
        let half = inside.shared.options.reserve_bytes / 2;
        let scarce_with = |free_bytes: u64| {
            sim.disk.set_capacity_bytes(Some(sim.disk.used_bytes() + free_bytes));
            inside.watch_room();
            *inside.shared.scarce.borrow()
        };
        assert_eq!([half, half - 1, half * 2].map(scarce_with), [false, true, false]);
    }
}
