//! Writes index sidecars beside the I/O thread, so that no append waits for one.
//!
//! A sidecar that cannot be written costs a longer start, so that is logged and forgotten.

use crate::env::Env;
#[cfg(not(tercet_sim))]
use crate::exec;
use crate::exec::Thread;
use crate::storage::shared::Shared;
use crate::storage::sidecar::Sidecar;
use crate::types::{GroupId, LogIndex};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// Most sidecars that wait; the oldest gives way.
const WAITING_MAX: usize = 4;
const POISONED: &str = "no thread panics while it holds the desk";

/// Writes sidecars at once (tests and the simulation), or on a thread.
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
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect(POISONED)
    }
}

impl Indexer {
    /// Writes each sidecar when it is told to.
    pub(crate) fn inline(shared: &Shared, folder: &Path) -> Indexer {
        let writer = Writer { env: shared.env.clone(), folder: folder.into(), group: shared.options.group };
        Indexer { writer, worker: None }
    }

    /// Writes them on a thread.
    #[cfg(not(tercet_sim))]
    pub(crate) fn spawn(shared: &Shared, folder: &Path) -> io::Result<Indexer> {
        let mut indexer = Indexer::inline(shared, folder);
        let (desk, writer) = (Arc::<Desk>::default(), indexer.writer.clone());
        let inside = desk.clone();
        let handle = exec::thread("log-index", move || run(&inside, &writer))?;
        indexer.worker = Some(Worker { desk, handle });
        Ok(indexer)
    }

    /// Writes each on the task of the I/O.
    #[cfg(tercet_sim)]
    pub(crate) fn spawn(shared: &Shared, folder: &Path) -> io::Result<Indexer> {
        Ok(Indexer::inline(shared, folder))
    }

    /// Writes a sidecar, or lets it be written soon; it replaces an older one of the same segment.
    pub(super) fn write(&self, sidecar: Sidecar) {
        let Some(worker) = &self.worker else { return self.writer.write(&sidecar) };
        let mut inner = worker.desk.lock();
        inner.waiting.retain(|older| older.base != sidecar.base);
        if inner.waiting.len() == WAITING_MAX {
            inner.waiting.pop_front();
        }
        inner.waiting.push_back(sidecar);
        worker.desk.changed.notify_all();
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

#[cfg(not(tercet_sim))]
fn run(desk: &Desk, writer: &Writer) {
    let mut inner = desk.lock();
    loop {
        inner = desk.changed.wait_while(inner, |inner| inner.waiting.is_empty() && !inner.stop).expect(POISONED);
        let Some(sidecar) = inner.waiting.pop_front() else { return };
        inner.writing = Some(sidecar.base);
        drop(inner);
        writer.write(&sidecar);
        inner = desk.lock();
        inner.writing = None;
        desk.changed.notify_all();
    }
}

#[derive(Clone)]
struct Writer {
    env: Env,
    folder: PathBuf,
    group: GroupId,
}

impl Writer {
    fn write(&self, sidecar: &Sidecar) {
        if let Err(error) = sidecar.save(&self.env, &self.folder, self.group) {
            sidecar.warn_unsaved(&self.folder, &error);
        }
    }
}
