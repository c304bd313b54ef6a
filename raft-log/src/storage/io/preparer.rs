//! Space for the log, made ready before it is needed, and given back when it is not.
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

use super::desk::{Desk, POISONED};
use super::frontier::Frontier;
use super::load::Load;
use super::prepared::{PREPARED_NAME, Prepared, create};
use super::preparing::Inside;
use super::removal::{Doomed, Removals};
use crate::env::Env;
use crate::exec::{self, Thread};
use crate::storage::Done;
use crate::storage::shared::Shared;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Makes files ready, on a thread of its own or at the moment they are needed.
pub(crate) struct Preparer {
    env: Env,
    path: PathBuf,
    bytes: u64,
    frontier: Arc<Frontier>,
    spares: Vec<Prepared>,
    spares_max: usize,
    /// Was taken and could not become a segment yet.
    begun: Option<Prepared>,
    worker: Option<Worker>,
}

struct Worker {
    desk: Arc<Desk>,
    shared: Arc<Shared>,
    handle: Option<Thread>,
}

impl Preparer {
    /// Makes each file when it is taken; for tests.
    pub(crate) fn inline(shared: &Shared, folder: &Path, spares: Vec<Prepared>) -> Preparer {
        Preparer {
            env: shared.env.clone(),
            path: folder.join(PREPARED_NAME),
            bytes: shared.options.segment_bytes_max,
            frontier: Arc::new(Frontier::new(shared.options.sizes)),
            spares,
            spares_max: shared.options.spare_segments_max,
            begun: None,
            worker: None,
        }
    }

    /// Makes files ready on a thread, beginning now.
    pub(crate) fn spawn(shared: Arc<Shared>, folder: &Path, spares: Vec<Prepared>) -> io::Result<Preparer> {
        let mut preparer = Preparer::inline(&shared, folder, spares);
        let desk = Arc::new(Desk::default());
        let inside = Inside {
            desk: desk.clone(),
            shared: shared.clone(),
            frontier: preparer.frontier.clone(),
            load: Load::default(),
        };
        let (file, bytes) = (preparer.path.clone(), preparer.bytes);
        let handle = exec::thread("log-prepare", move || inside.run(&file, bytes))?;
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
        if self.is_crowded() { 0 } else { self.spares_max.saturating_sub(self.spares.len()) }
    }

    fn is_crowded(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| worker.desk.lock().crowded)
    }

    /// All spares, to be removed, if the disk is above its high-water mark.
    pub(super) fn unwanted_spares(&mut self) -> Vec<Doomed> {
        if !self.is_crowded() {
            return Vec::new();
        }
        let doomed = |spare: Prepared| Doomed { path: spare.path, sole: Some(spare.file), bytes: spare.bytes };
        std::mem::take(&mut self.spares).into_iter().map(doomed).collect()
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

    /// Removes files of released segments, on the worker if there is one; `done` hears when they are gone.
    pub(super) fn remove(&self, files: Vec<Doomed>, done: Done) {
        match &self.worker {
            Some(worker) => {
                worker.desk.lock().removals.push(files, done);
                worker.desk.changed.notify_all();
            }
            None => {
                let mut removals = Removals::default();
                removals.push(files, done);
                while let Some(removal) = removals.next() {
                    removal.finish(self.env.disk.as_ref());
                }
            }
        }
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
        if let Some(begun) = self.begun.take() {
            return Ok(begun);
        }
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

    /// Takes back what was taken, because it could not become a segment yet.
    pub(super) fn take_back(&mut self, prepared: Prepared) {
        assert!(self.begun.is_none(), "one file at a time becomes a segment");
        self.begun = Some(prepared);
    }

    /// Says whether the log waits for space.
    pub(super) fn starve(&self, starved: bool) {
        if let Some(worker) = &self.worker {
            worker.desk.lock().starved = starved;
        }
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
