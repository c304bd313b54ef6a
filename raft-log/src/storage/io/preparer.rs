//! Space for the log, made ready before it is needed.
//!
//! ```text
//!   next segment: create log/next.tmp ─► allocate all of it ─► (once the active one fills) zero it ─► take()
//!   active segment: zero what is in front of the writer, see [`Frontier`]
//! ```
//! Allocation is instant and means that the log can go on for a whole segment on a full disk (hazards 9). Writing
//! zeroes turns reserved extents into written ones, so that a later fdatasync has no metadata to commit; it is paced, and
//! a `take` that cannot wait gets the file as it is: unwritten extents read as zeroes all the same.
//!
//! The file of a released segment is better still: all of it is allocated and written. Some are kept as *spares*
//! (`<old base>.spare`) and taken first. What they hold is told from new records by the salt.

use super::frontier::{Claim, Frontier};
use crate::env::{Env, File, OpenMode};
use crate::exec::{self, Thread};
use crate::storage::format::Salt;
use crate::storage::shared::Shared;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// The file's name in the log's folder until it becomes a segment.
pub(crate) const PREPARED_NAME: &str = "next.tmp";
/// How much is zeroed and synced at once.
const ZERO_CHUNK_BYTES: u64 = 8 << 20;
/// Zeroing of the next segment begins when this part (1/n) of the active one is used.
const ZERO_AFTER_FRACTION: u64 = 8;
/// How often a waiting preparer looks at the active segment, or tries again after an error.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const POISONED: &str = "no thread panics while it holds the desk";

/// A file that is ready to become a segment.
pub(crate) struct Prepared {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    pub(crate) bytes: u64,
    /// The salt of its earlier life, if it had one.
    pub(crate) former: Option<Salt>,
}

/// Makes files ready, on a thread of its own or at the moment they are needed.
pub(crate) struct Preparer {
    env: Env,
    path: PathBuf,
    bytes: u64,
    frontier: Arc<Frontier>,
    spares: Vec<Prepared>,
    spares_max: usize,
    worker: Option<Worker>,
}

struct Worker {
    desk: Arc<Desk>,
    shared: Arc<Shared>,
    handle: Option<Thread>,
}

/// Where the I/O thread and the worker meet.
#[derive(Default)]
struct Desk {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    /// A next file is to be made.
    wanted: bool,
    ready: Option<Ready>,
    /// The worker is busy with the next file; whoever takes it waits for that step to end.
    working: bool,
    stop: bool,
}

struct Ready {
    prepared: Prepared,
    zeroed_to: u64,
}

impl Inner {
    fn lacks_file(&self) -> bool {
        self.wanted && self.ready.is_none()
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect(POISONED)
    }
}

impl Preparer {
    /// Makes each file when it is taken; for tests and the simulation.
    pub(crate) fn inline(shared: &Shared, folder: &Path, spares: Vec<Prepared>) -> Preparer {
        Preparer {
            env: shared.env.clone(),
            path: folder.join(PREPARED_NAME),
            bytes: shared.options.segment_bytes_max,
            frontier: Arc::default(),
            spares,
            spares_max: shared.options.spare_segments_max,
            worker: None,
        }
    }

    /// Makes files ready on a thread, beginning now.
    pub(crate) fn spawn(shared: Arc<Shared>, folder: &Path, spares: Vec<Prepared>) -> io::Result<Preparer> {
        let mut preparer = Preparer::inline(&shared, folder, spares);
        let desk = Arc::new(Desk::default());
        let inside = Inside { desk: desk.clone(), shared: shared.clone(), frontier: preparer.frontier.clone() };
        let (file, bytes) = (preparer.path.clone(), preparer.bytes);
        #[cfg(not(tercet_sim))]
        let handle = exec::thread("log-prepare", move || inside.run(&file, bytes))?;
        #[cfg(tercet_sim)]
        let handle = exec::worker("log-prepare", async move { inside.run_as_task(&file, bytes).await })?;
        preparer.worker = Some(Worker { desk, shared, handle: Some(handle) });
        preparer.prepare_next();
        Ok(preparer)
    }

    /// The active segment's, to be told where it is written.
    pub(super) fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// How many more spares would be kept.
    pub(super) fn spares_wanted(&self) -> usize {
        self.spares_max.saturating_sub(self.spares.len())
    }

    /// Takes the file of a released segment, which has its own name, durably.
    pub(super) fn keep_spare(&mut self, spare: Prepared) {
        assert_eq!(spare.bytes, self.bytes, "a spare is as long as a segment");
        self.spares.push(spare);
    }

    /// Bytes of all spares.
    pub(super) fn spare_bytes(&self) -> u64 {
        self.spares.len() as u64 * self.bytes
    }

    /// Asks for the next file, unless a spare is there; the one before has been taken and renamed.
    pub(super) fn prepare_next(&self) {
        if let Some(worker) = &self.worker
            && self.spares.is_empty()
        {
            worker.desk.lock().wanted = true;
            worker.desk.changed.notify_all();
        }
    }

    /// A spare, or the prepared file, or one made on the spot. Errors name the file.
    pub(super) fn take(&mut self) -> Result<Prepared, (PathBuf, io::Error)> {
        if let Some(spare) = self.spares.pop() {
            return Ok(spare);
        }
        if let Some(worker) = &self.worker {
            let mut inner = worker.desk.lock();
            inner = worker.desk.changed.wait_while(inner, |inner| inner.working).expect(POISONED);
            inner.wanted = false;
            worker.shared.counters.prepared_bytes.store(0, Relaxed);
            if let Some(ready) = inner.ready.take() {
                return Ok(ready.prepared);
            }
        }
        create(&self.env, &self.path, self.bytes).map_err(|error| (self.path.clone(), error))
    }

    /// Ends the thread.
    pub(super) fn stop(&mut self) {
        if let Some(worker) = &mut self.worker {
            worker.desk.lock().stop = true;
            worker.desk.changed.notify_all();
            if let Some(handle) = worker.handle.take() {
                // A panic of the preparer costs a prepared file, nothing else.
                handle.join();
            }
        }
    }
}

fn create(env: &Env, path: &Path, bytes: u64) -> io::Result<Prepared> {
    let file = env.disk.open(path, OpenMode::CreateOrTruncate)?;
    file.allocate(bytes)?;
    Ok(Prepared { path: path.into(), file, bytes, former: None })
}

/// What the worker holds.
struct Inside {
    desk: Arc<Desk>,
    shared: Arc<Shared>,
    frontier: Arc<Frontier>,
}

/// The most urgent thing to do.
enum Task {
    Nothing,
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
    fn run(&self, path: &Path, bytes: u64) {
        let mut rest = Rest::default();
        while let Some(task) = self.next_task(rest) {
            rest = self.perform(&task, path, bytes);
        }
    }

    /// Under simulation: looks for something to do at intervals.
    #[cfg(tercet_sim)]
    async fn run_as_task(&self, path: &Path, bytes: u64) {
        let mut rest = Rest::default();
        loop {
            tokio::time::sleep(rest.pause.max(Duration::from_millis(1))).await;
            let Some(task) = self.choose(&mut self.desk.lock()) else { return };
            rest = self.perform(&task, path, bytes);
        }
    }

    /// Does it, and says how long to rest.
    fn perform(&self, task: &Task, path: &Path, bytes: u64) -> Rest {
        let begin = self.shared.env.clock.monotonic();
        let done = match task {
            Task::Nothing => Ok(()),
            Task::Create => self.create(path, bytes),
            Task::ZeroActive(claim) => self.zero_active(claim),
            Task::ZeroNext(file, at) => self.zero_next(file.as_ref(), *at, bytes),
        };
        let failed = done.is_err();
        if let Err(error) = done {
            tracing::warn!(file = %path.display(), %error, "space for the log cannot be prepared; trying again");
        }
        let pause = match task {
            // Rest as long as it took, so that appends keep at least half of the disk.
            Task::Create | Task::ZeroActive(_) | Task::ZeroNext(..) if !failed => {
                self.shared.env.clock.monotonic().saturating_sub(begin)
            }
            _ => LOOK_AGAIN,
        };
        Rest { pause, failed }
    }

    /// Waits out the rest, less if a file is wanted and nothing failed before; says what to do. `None` ends the thread.
    #[cfg(not(tercet_sim))]
    fn next_task(&self, Rest { pause, failed }: Rest) -> Option<Task> {
        let inner = self.desk.lock();
        let rest = |inner: &mut Inner| !inner.stop && (failed || !inner.lacks_file());
        let (mut inner, _) = self.desk.changed.wait_timeout_while(inner, pause, rest).expect(POISONED);
        self.choose(&mut inner)
    }

    /// What is most urgent; `None` when it is to end.
    fn choose(&self, inner: &mut Inner) -> Option<Task> {
        if inner.stop {
            return None;
        }
        if inner.lacks_file() {
            inner.working = true;
            return Some(Task::Create);
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

    fn create(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let made = create(&self.shared.env, path, bytes);
        let mut inner = self.desk.lock();
        inner.working = false;
        self.desk.changed.notify_all();
        let prepared = made?;
        inner.ready = Some(Ready { prepared, zeroed_to: 0 });
        self.shared.counters.prepared_bytes.store(bytes, Relaxed);
        Ok(())
    }

    fn zero_next(&self, file: &dyn File, at: u64, bytes: u64) -> io::Result<()> {
        let end = bytes.min(at + ZERO_CHUNK_BYTES);
        let zeroed = file.zero(at, end - at);
        let mut inner = self.desk.lock();
        inner.working = false;
        if let Some(ready) = &mut inner.ready {
            ready.zeroed_to = end;
        }
        self.desk.changed.notify_all();
        zeroed
    }

    fn zero_active(&self, claim: &Claim) -> io::Result<()> {
        let (start, end) = (claim.range.start, claim.range.end);
        // What is written already was zeroed before, perhaps by an earlier process.
        let zeroed = match claim.file.next_data(start) {
            Ok(data) if data < end => Ok(()),
            Ok(_) => claim.file.zero(start, end - start),
            Err(error) => Err(error),
        };
        self.frontier.release(claim);
        zeroed
    }
}
