//! The background sync of `async` durability: what is written is on disk within about 10 ms.

use crate::exec::sync::{Condvar, Mutex, MutexGuard};
use crate::exec::{self, Thread};
use crate::storage::StorageError;
use crate::storage::segment::Segment;
use crate::storage::shared::Shared;
use crate::types::LogIndex;
use std::sync::Arc;
use std::time::Duration;

/// How long writes gather before a sync; the sync itself comes on top.
const GATHER: Duration = Duration::from_millis(5);

/// What to sync: the entries below `end` are written, and those before the segment are durable.
struct Request {
    segment: Arc<Segment>,
    end: LogIndex,
    epoch: u64,
}

#[derive(Default)]
struct Slot {
    request: Mutex<(Option<Request>, bool)>,
    changed: Condvar,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, (Option<Request>, bool)> {
        self.request.lock().expect("no thread panics while it holds the request")
    }
}

/// Syncs behind the I/O thread, or not at all (`sync` durability, and tests that step the engine).
pub(crate) enum Syncer {
    None,
    Thread { slot: Arc<SyncerSlot>, handle: Option<Thread> },
}

/// The mailbox between the I/O thread and its syncer.
pub(crate) struct SyncerSlot(Slot);

impl Syncer {
    /// Starts the thread.
    pub(crate) fn spawn(shared: Arc<Shared>) -> std::io::Result<Syncer> {
        let slot = Arc::new(SyncerSlot(Slot::default()));
        let inbox = slot.clone();
        let handle = exec::thread("log-sync", move || run(&shared, &inbox.0))?;
        Ok(Syncer::Thread { slot, handle: Some(handle) })
    }

    /// Asks for a sync; a newer request replaces one that has not begun.
    pub(super) fn request(&self, segment: Arc<Segment>, end: LogIndex, epoch: u64) {
        if let Syncer::Thread { slot, .. } = self {
            let mut inner = slot.0.lock();
            let idle = inner.0.is_none();
            inner.0 = Some(Request { segment, end, epoch });
            drop(inner);
            if idle {
                slot.0.changed.notify_one();
            }
        }
    }

    /// Ends the thread. What it has not synced, the caller does.
    pub(super) fn stop(&mut self) {
        if let Syncer::Thread { slot, handle } = self {
            slot.0.lock().1 = true;
            slot.0.changed.notify_one();
            if let Some(handle) = handle.take() {
                handle.join();
            }
        }
    }
}

fn run(shared: &Shared, slot: &Slot) {
    let poisoned = "no thread panics while it holds the request";
    loop {
        let mut inner = slot.lock();
        while inner.0.is_none() && !inner.1 {
            inner = slot.changed.wait(inner).expect(poisoned);
        }
        let (mut inner, _) = slot.changed.wait_timeout_while(inner, GATHER, |inner| !inner.1).expect(poisoned);
        if inner.1 {
            return;
        }
        let Some(request) = inner.0.take() else { continue };
        drop(inner);
        if sync(shared, &request).is_err() {
            return;
        }
    }
}

fn sync(shared: &Shared, request: &Request) -> Result<(), Arc<StorageError>> {
    shared.sync(&request.segment)?;
    let mut state = shared.lock();
    if let Some(failure) = &state.failure {
        return Err(failure.clone());
    }
    shared.publish_durable(&mut state, request.epoch, request.end);
    Ok(())
}
