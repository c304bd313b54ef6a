//! The one task of a client that watches who leads: see [`crate::watching`].

use std::{
    future::Future,
    sync::{Mutex, MutexGuard},
};

use tokio::{sync::watch, task::JoinHandle};

/// The one task that watches for a client; it ends with the client.
#[derive(Debug)]
pub(crate) struct LeaderWatch {
    task: Mutex<Option<JoinHandle<()>>>,
    stands: watch::Sender<bool>,
}

impl LeaderWatch {
    pub(crate) fn new() -> Self {
        Self { task: Mutex::default(), stands: watch::Sender::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.task.lock().expect("no holder of this lock panics")
    }

    /// Sees to it that somebody watches; a runtime that has ended took its task with it.
    pub(crate) fn ensure<F: Future<Output = ()> + Send + 'static>(&self, watch: impl FnOnce() -> F) {
        let mut task = self.lock();
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(tokio::spawn(watch()));
        }
    }

    /// Says whether a stream stands.
    pub(crate) fn say_stands(&self, stands: bool) {
        self.stands.send_replace(stands);
    }

    /// Whether a stream stands, and each change of that.
    pub(crate) fn stands(&self) -> watch::Receiver<bool> {
        self.stands.subscribe()
    }
}

impl Drop for LeaderWatch {
    fn drop(&mut self) {
        if let Some(task) = self.lock().take() {
            task.abort();
        }
    }
}
