//! Writes index sidecars beside the I/O thread, so that no append waits for one.
//!
//! A sidecar that cannot be written costs a longer start, so that is logged, and tried again some records later. But the
//! folder's sync may fail for a name of somebody else: that is the end of the log.

use crate::exec::sync::{Condvar, Mutex, MutexGuard};
use crate::exec::{self, Thread};
use crate::planted::{self, Bug};
use crate::storage::StorageError;
use crate::storage::shared::Shared;
use crate::storage::sidecar::Sidecar;
use crate::types::LogIndex;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most sidecars that wait; the oldest gives way.
const WAITING_MAX: usize = 4;
const POISONED: &str = "no thread panics while it holds the desk";

/// Writes sidecars at once (tests), or on a thread.
pub(crate) struct Indexer {
    writer: Writer,
    worker: Option<Worker>,
}

struct Worker {
    desk: Arc<Desk>,
    handle: Thread,
}

#[derive(Default)]
struct Desk {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Sidecar>,
    /// The segment whose sidecar is being written.
    writing: Option<LogIndex>,
    stop: bool,
    /// The thread has ended: indexes are not written any more.
    gone: bool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect(POISONED)
    }
}

impl Indexer {
    /// Writes each sidecar when it is told to.
    pub(crate) fn inline(shared: &Arc<Shared>, folder: &Path) -> Indexer {
        let writer = Writer { shared: shared.clone(), folder: folder.into(), unsaved: Arc::default() };
        Indexer { writer, worker: None }
    }

    /// Writes them on a thread.
    pub(crate) fn spawn(shared: &Arc<Shared>, folder: &Path) -> io::Result<Indexer> {
        let mut indexer = Indexer::inline(shared, folder);
        let (desk, writer) = (Arc::<Desk>::default(), indexer.writer.clone());
        let inside = desk.clone();
        let handle = exec::thread("log-index", move || run(&inside, |sidecar| writer.write(sidecar)))?;
        indexer.worker = Some(Worker { desk, handle });
        Ok(indexer)
    }

    /// Writes a sidecar, or lets it be written soon; it replaces an older one of the same segment.
    pub(super) fn write(&self, sidecar: Sidecar) {
        let Some(worker) = &self.worker else { return self.writer.write(&sidecar) };
        let mut inner = worker.desk.lock();
        if inner.gone {
            return;
        }
        inner.waiting.retain(|older| older.base != sidecar.base);
        if inner.waiting.len() == WAITING_MAX {
            inner.waiting.pop_front();
        }
        inner.waiting.push_back(sidecar);
        worker.desk.changed.notify_all();
    }

    /// Whether the last attempt to save the index of this segment failed.
    pub(super) fn is_unsaved(&self, base: LogIndex) -> bool {
        *self.writer.unsaved.lock().expect(POISONED) == Some(base)
    }

    /// Returns once no sidecar of this segment will be written that was ordered before.
    pub(super) fn forget(&self, base: LogIndex) {
        let Some(worker) = &self.worker else { return };
        let mut inner = worker.desk.lock();
        inner.waiting.retain(|sidecar| sidecar.base != base);
        drop(worker.desk.changed.wait_while(inner, |inner| inner.writing == Some(base)).expect(POISONED));
    }

    /// Writes what waits, and ends the thread.
    pub(super) fn stop(&mut self) {
        if let Some(Worker { desk, handle }) = self.worker.take() {
            desk.lock().stop = true;
            desk.changed.notify_all();
            handle.join();
        }
    }
}

fn run(desk: &Desk, write: impl Fn(&Sidecar)) {
    let _gone = Gone(desk);
    loop {
        let mut inner = desk.lock();
        inner = desk.changed.wait_while(inner, |inner| inner.waiting.is_empty() && !inner.stop).expect(POISONED);
        let Some(sidecar) = inner.waiting.pop_front() else { return };
        inner.writing = Some(sidecar.base);
        drop(inner);
        write(&sidecar);
        desk.lock().writing = None;
        desk.changed.notify_all();
    }
}

/// When the thread ends, by a panic too, nobody waits for what it was writing, and nothing is left there to be written.
struct Gone<'a>(&'a Desk);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        (inner.gone, inner.writing) = (true, None);
        inner.waiting.clear();
        self.0.changed.notify_all();
    }
}

#[derive(Clone)]
struct Writer {
    shared: Arc<Shared>,
    folder: PathBuf,
    /// The segment whose newest index could not be saved.
    unsaved: Arc<Mutex<Option<LogIndex>>>,
}

impl Writer {
    fn write(&self, sidecar: &Sidecar) {
        let Shared { env, options, .. } = &*self.shared;
        let saved = sidecar.save(env, &self.folder, options.group);
        *self.unsaved.lock().expect(POISONED) = saved.is_err().then_some(sidecar.base);
        if let Err(error) = saved {
            sidecar.warn_unsaved(&self.folder, &error);
            return;
        }
        if planted::is(Bug::UnsyncedNames) {
            return;
        }
        // The name of a segment may be what this sync could not bring to the disk: its error is the log's (hazards 31).
        if let Err(source) = env.disk.sync_dir(&self.folder) {
            let source = Arc::new(source);
            self.shared.fail(StorageError::Io { action: "syncing", file: self.folder.clone(), source });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::SimEnv;
    use crate::storage::StorageOptions;
    use crate::storage::format::Salt;
    use crate::storage::opened::Opened;
    use crate::storage::positions::Positions;
    use crate::types::{GroupId, LogId, Term};

    fn sidecar() -> Sidecar {
        let base = LogIndex(3);
        let runs = vec![LogId { term: Term(1), index: base }];
        Sidecar { base, salt: Salt(1), end: LogIndex(4), end_offset: 8_192, runs, positions: Positions::new(base) }
    }

    #[test]
    fn a_panic_while_an_index_is_written_holds_up_nobody() {
        let shared = Opened::open(SimEnv::new(1).env(), StorageOptions::new("/d", GroupId(1))).unwrap().shared;
        let mut indexer = Indexer::inline(&shared, Path::new("/d/log"));
        let desk = Arc::<Desk>::default();
        let at_the_desk = desk.clone();
        let handle = exec::thread("log-index", move || run(&at_the_desk, |_| panic!("planted"))).unwrap();
        indexer.worker = Some(Worker { desk, handle });
        indexer.write(sidecar());
        indexer.forget(LogIndex(3));
        indexer.write(sidecar());
        indexer.forget(LogIndex(3));
        indexer.stop();
    }
}
