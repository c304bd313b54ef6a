//! The next segment's file, made ready before it is needed.
//!
//! ```text
//!   create log/next.tmp ─► allocate all of it ─► (once the active segment fills) zero it in small steps ─► take()
//! ```
//! Allocation is instant and means that the log can go on for a whole segment on a full disk (hazards 9). Writing
//! zeroes turns reserved extents into written ones, so that a later fdatasync has no metadata to commit; it is paced, and
//! a `take` that cannot wait gets the file as it is: unwritten extents read as zeroes all the same.

use crate::env::{Env, File, OpenMode};
use crate::storage::shared::Shared;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// The file's name in the log's folder until it becomes a segment.
pub(crate) const PREPARED_NAME: &str = "next.tmp";
/// How much is zeroed and synced at once.
const ZERO_CHUNK_BYTES: usize = 4 << 20;
/// Zeroing begins when this part (1/n) of the active segment is used.
const ZERO_AFTER_FRACTION: u64 = 8;
/// How often a waiting preparer looks at the active segment, or tries again after an error.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A file that is ready to become a segment.
pub(crate) struct Prepared {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    pub(crate) bytes: u64,
}

/// Makes files ready, on a thread of its own or at the moment they are needed.
pub(crate) struct Preparer {
    env: Env,
    path: PathBuf,
    bytes: u64,
    worker: Option<Worker>,
}

struct Worker {
    desk: Arc<Desk>,
    shared: Arc<Shared>,
    handle: Option<JoinHandle<()>>,
}

/// Where the I/O thread and the worker meet.
#[derive(Default)]
struct Desk {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    order: Order,
    ready: Option<Prepared>,
    /// The worker holds the file; it gives it back when told to hurry.
    working: bool,
    stop: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Order {
    #[default]
    None,
    Prepare,
    /// The file is needed now, however far it is.
    Hurry,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no thread panics while it holds the desk")
    }
}

impl Preparer {
    /// Makes each file when it is taken; for tests and the simulation.
    pub(crate) fn inline(env: Env, folder: &Path, bytes: u64) -> Preparer {
        Preparer { env, path: folder.join(PREPARED_NAME), bytes, worker: None }
    }

    /// Makes files ready on a thread, beginning now.
    pub(crate) fn spawn(shared: Arc<Shared>, folder: &Path) -> io::Result<Preparer> {
        let path = folder.join(PREPARED_NAME);
        let bytes = shared.options.segment_bytes_max;
        let env = shared.env.clone();
        let desk = Arc::new(Desk::default());
        let (inbox, file, crew) = (desk.clone(), path.clone(), shared.clone());
        let handle =
            std::thread::Builder::new().name("log-prepare".into()).spawn(move || run(&inbox, &crew, &file, bytes))?;
        let preparer = Preparer { env, path, bytes, worker: Some(Worker { desk, shared, handle: Some(handle) }) };
        preparer.prepare_next();
        Ok(preparer)
    }

    /// Asks for the next file; the one before has been taken and renamed.
    pub(super) fn prepare_next(&self) {
        if let Some(worker) = &self.worker {
            worker.desk.lock().order = Order::Prepare;
            worker.desk.changed.notify_all();
        }
    }

    /// The prepared file, or one made on the spot. Errors name the file.
    pub(super) fn take(&self) -> Result<Prepared, (PathBuf, io::Error)> {
        if let Some(worker) = &self.worker {
            let mut inner = worker.desk.lock();
            inner.order = Order::Hurry;
            worker.desk.changed.notify_all();
            inner = worker
                .desk
                .changed
                .wait_while(inner, |inner| inner.working)
                .expect("no thread panics while it holds the desk");
            inner.order = Order::None;
            worker.shared.counters.prepared_bytes.store(0, Relaxed);
            if let Some(prepared) = inner.ready.take() {
                return Ok(prepared);
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
                let _ = handle.join();
            }
        }
    }
}

fn create(env: &Env, path: &Path, bytes: u64) -> io::Result<Prepared> {
    let file = env.disk.open(path, OpenMode::CreateOrTruncate)?;
    file.allocate(bytes)?;
    Ok(Prepared { path: path.into(), file, bytes })
}

fn run(desk: &Desk, shared: &Shared, path: &Path, bytes: u64) {
    let counters = &shared.counters;
    let poisoned = "no thread panics while it holds the desk";
    loop {
        let mut inner = desk.lock();
        while !inner.stop && inner.order != Order::Prepare {
            inner = desk.changed.wait(inner).expect(poisoned);
        }
        if inner.stop {
            return;
        }
        inner.working = true;
        drop(inner);
        counters.prepared_bytes.store(0, Relaxed);
        let made = create(&shared.env, path, bytes).and_then(|prepared| {
            counters.prepared_bytes.store(bytes, Relaxed);
            zero(desk, &prepared, shared)?;
            Ok(prepared)
        });
        let mut inner = desk.lock();
        inner.working = false;
        match made {
            Ok(prepared) => {
                inner.ready = Some(prepared);
                if inner.order == Order::Prepare {
                    inner.order = Order::None;
                }
                desk.changed.notify_all();
            }
            Err(error) => {
                counters.prepared_bytes.store(0, Relaxed);
                tracing::warn!(file = %path.display(), %error, "the next segment cannot be prepared; trying again");
                desk.changed.notify_all();
                drop(desk.changed.wait_timeout_while(inner, LOOK_AGAIN, |inner| !inner.stop).expect(poisoned));
            }
        }
    }
}

/// Zeroes the file step by step, as long as nobody waits for it.
fn zero(desk: &Desk, prepared: &Prepared, shared: &Shared) -> io::Result<()> {
    let due_below = prepared.bytes - prepared.bytes / ZERO_AFTER_FRACTION;
    let left = || shared.counters.active_left_bytes.load(Relaxed);
    if !pause(desk, LOOK_AGAIN, || (1..due_below).contains(&left())) {
        return Ok(());
    }
    let chunk = usize::try_from(prepared.bytes).unwrap_or(usize::MAX).min(ZERO_CHUNK_BYTES);
    let zeroes = vec![0; chunk];
    let mut at = 0;
    while at < prepared.bytes {
        let length = usize::try_from(prepared.bytes - at).unwrap_or(usize::MAX).min(chunk);
        let begin = shared.env.clock.monotonic();
        prepared.file.write_all_at(&zeroes[..length], at)?;
        prepared.file.sync_data()?;
        at += length as u64;
        // Rest as long as it took, so that appends keep at least half of the disk.
        let rest_until = shared.env.clock.monotonic() * 2 - begin;
        let rest = rest_until.saturating_sub(shared.env.clock.monotonic());
        let mut rested = false;
        if !pause(desk, rest, || std::mem::replace(&mut rested, true)) {
            return Ok(());
        }
    }
    Ok(())
}

/// Waits until `due`, which is asked at once and then at intervals; `false` if the file is needed before, or the log stops.
fn pause(desk: &Desk, look_again: Duration, mut due: impl FnMut() -> bool) -> bool {
    let mut inner = desk.lock();
    while !inner.stop && inner.order != Order::Hurry {
        if due() {
            return true;
        }
        let (next, _) = desk.changed.wait_timeout(inner, look_again).expect("no thread panics while it holds the desk");
        inner = next;
    }
    false
}
