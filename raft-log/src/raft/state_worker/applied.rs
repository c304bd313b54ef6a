//! How far the state is, and how far behind what is committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::types::{LogId, LogIndex};

/// The applied entry, shared with readers. openraft's own idea of it is what was handed over to be applied.
#[derive(Clone)]
pub(crate) struct AppliedIndex {
    /// 0 for nothing, else index + 1: every read of a message looks here.
    index: Arc<AtomicU64>,
    id: Arc<watch::Sender<Option<LogId>>>,
}

impl AppliedIndex {
    pub(crate) fn new(applied: Option<LogId>) -> AppliedIndex {
        let index = applied.map_or(0, |id| id.index.next().0);
        AppliedIndex { index: Arc::new(AtomicU64::new(index)), id: Arc::new(watch::Sender::new(applied)) }
    }

    pub(crate) fn get(&self) -> Option<LogIndex> {
        self.index.load(Ordering::Acquire).checked_sub(1).map(LogIndex)
    }

    /// The entry's term and index.
    pub(crate) fn id(&self) -> Option<LogId> {
        *self.id.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Option<LogId>> {
        self.id.subscribe()
    }

    /// Returns when this entry is applied; not, when the state stops before.
    pub(crate) async fn reached(&self, index: LogIndex) {
        let mut watch = self.id.subscribe();
        // The sender lives as long as this handle.
        drop(watch.wait_for(|id| id.is_some_and(|id| id.index >= index)).await);
    }

    pub(super) fn set(&self, id: LogId) {
        self.index.store(id.index.next().0, Ordering::Release);
        self.id.send_replace(Some(id));
    }
}

/// Keeps a follower from taking entries much faster than it applies them.
///
/// openraft's core sends a command for each step of what is committed, and waits when its channel to the state machine is
/// full; then nothing of this node answers any more (hazards 37). While the queue behind that channel is full, only so
/// many requests of the leader are let in: each leads to a command at most, and the channel holds them all.
#[derive(Clone)]
pub(crate) struct Handover {
    full: Arc<watch::Sender<bool>>,
    let_in: Arc<AtomicU64>,
}

/// Requests that a follower takes while nothing more can be queued to be applied.
pub(crate) const REQUESTS_WAITING_MAX: u64 = 32 << 10;

impl Default for Handover {
    fn default() -> Handover {
        Handover { full: Arc::new(watch::Sender::new(false)), let_in: Arc::default() }
    }
}

impl Handover {
    /// Lets a request in; one with entries waits while too many were let in.
    pub(crate) async fn admit(&self, has_entries: bool) {
        if !*self.full.borrow() {
            return;
        }
        let let_in = self.let_in.fetch_add(1, Ordering::Relaxed);
        if has_entries && let_in >= REQUESTS_WAITING_MAX {
            // The sender lives as long as this handle.
            drop(self.full.subscribe().wait_for(|full| !full).await);
        }
    }

    #[cfg(test)]
    #[cfg(not(tercet_sim))]
    pub(super) fn is_full(&self) -> bool {
        *self.full.borrow()
    }

    /// The queue is full until the answer is dropped.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.let_in.store(0, Ordering::Relaxed);
        self.full.send_replace(true);
        Waiting(self)
    }
}

/// While it lives, the queue is full.
pub(super) struct Waiting<'a>(&'a Handover);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.full.send_replace(false);
    }
}
