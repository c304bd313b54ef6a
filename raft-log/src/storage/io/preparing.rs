//! The worker of the [`Preparer`](super::Preparer): makes the next file, zeroes, removes released ones, and watches the
//! room on the disk.

use super::frontier::{Claim, Frontier};
use super::load::Load;
use super::preparer::{Desk, Inner, LOOK_AGAIN, Prepared, Ready, create, is_full};
use super::removal::Removal;
use crate::env::File;
use crate::storage::StorageError;
use crate::storage::room::{Room, Space};
use crate::storage::shared::Shared;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How much is zeroed and synced at once; what is appended meanwhile waits that long. At 5,000 entries a second the p99 was
/// 11 ms with 8 MiB, 5 ms with this.
const ZERO_CHUNK_BYTES: u64 = 1 << 20;
/// Zeroing of the next segment begins when this part (1/n) of the active one is used.
const ZERO_AFTER_FRACTION: u64 = 8;

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
    #[cfg_attr(tercet_sim, expect(dead_code, reason = "the task looks at intervals whatever happened"))]
    failed: bool,
}

impl Inside {
    #[cfg(not(tercet_sim))]
    pub(super) fn run(&self, path: &Path, bytes: u64) {
        let mut rest = Rest::default();
        while let Some(task) = self.next_task(rest) {
            rest = self.perform(task, path, bytes);
        }
        self.remove_the_rest();
    }

    /// Under simulation: looks for something to do at intervals.
    #[cfg(tercet_sim)]
    pub(super) async fn run_as_task(&self, path: &Path, bytes: u64) {
        let mut rest = Rest::default();
        loop {
            tokio::time::sleep(rest.pause.max(Duration::from_millis(1))).await;
            let Some(task) = self.choose(&mut self.desk.lock()) else { break };
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
    #[cfg(not(tercet_sim))]
    fn next_task(&self, Rest { pause, failed }: Rest) -> Option<Task> {
        let inner = self.desk.lock();
        let rest = |inner: &mut Inner| !inner.stop && (failed || !inner.lacks_file());
        let (mut inner, _) = self.desk.changed.wait_timeout_while(inner, pause, rest).expect(super::preparer::POISONED);
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
        if let Some(claim) = self.frontier.claim(ZERO_CHUNK_BYTES) {
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
        // An answer that cannot be had is no reason to refuse anything.
        let free_bytes = shared.env.disk.free_bytes(&shared.options.dir).unwrap_or(u64::MAX);
        let space = Space { free_bytes, allocated_bytes: shared.counters.snapshot().allocated_bytes, starved };
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
        let end = bytes.min(at + ZERO_CHUNK_BYTES);
        let zeroed = file.zero(at, end - at);
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

    /// The system tells a failed sync once. This one was told that records of the I/O thread may not have reached the disk.
    fn fail_active(&self, error: &io::Error) {
        if is_full(error) {
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
            Ok(_) => claim.file.zero(start, end - start).inspect_err(|error| self.fail_active(error)),
            Err(error) => Err(error),
        };
        self.frontier.release(claim);
        zeroed
    }
}
