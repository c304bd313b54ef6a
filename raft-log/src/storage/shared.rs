//! What callers, readers and the I/O thread share: one lock over the log's state, the queue, and the watches.
//!
//! **Epochs.** A truncation takes effect in memory at once, while older appends may still be on their way to disk. Each
//! truncation begins a new epoch; jobs carry the epoch that they were queued in, and only those of the present epoch
//! may say that entries are written or durable. The truncation's own job says it for what it kept.

use super::catalog::Catalog;
use super::counters::Counters;
use super::damage_reports::DamageReports;
use super::error::StorageError;
use super::io::Queue;
use super::options::StorageOptions;
use super::record::HardState;
use super::room::Room;
use super::segment::Segment;
use super::tail::Tail;
use super::terms::Terms;
use crate::env::Env;
use crate::planted::{self, Bug};
use crate::types::{LogId, LogIndex, Term};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// The state of the log in memory.
#[derive(Debug)]
pub(crate) struct State {
    /// The last entry that Raft no longer sees.
    pub(crate) purged: Option<LogId>,
    pub(crate) tail: Tail,
    pub(crate) terms: Terms,
    pub(crate) catalog: Catalog,
    /// Entries below this are synced.
    pub(crate) durable_end: LogIndex,
    pub(crate) epoch: u64,
    /// The epoch that the files have come to: while it is an older one, what was removed is being erased in them.
    pub(crate) files_epoch: u64,
    /// The hard state that is saved.
    pub(crate) hard_state: Option<HardState>,
    /// The term of the newest hard state that was queued.
    pub(crate) queued_term: Term,
    /// The log was shut down: it takes no more calls, but does those that are queued.
    pub(crate) closed: bool,
    /// Set once; the log accepts nothing afterwards.
    pub(crate) failure: Option<Arc<StorageError>>,
}

impl State {
    /// An error if the log takes no more calls.
    pub(crate) fn check_alive(&self) -> Result<(), StorageError> {
        match &self.failure {
            Some(failure) => Err(StorageError::clone(failure)),
            None if self.closed => Err(StorageError::Stopped),
            None => Ok(()),
        }
    }

    /// The id of the last entry, or of the purged one if nothing follows it.
    pub(crate) fn last(&self) -> Option<LogId> {
        let index = LogIndex(self.tail.next().0.checked_sub(1)?);
        match self.terms.at(index) {
            Some(term) => Some(LogId { term, index }),
            None => self.purged,
        }
    }
}

/// Shared by everybody who has to do with one log.
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) options: StorageOptions,
    pub(crate) queue: Queue,
    pub(crate) counters: Counters,
    pub(crate) damage: DamageReports,
    pub(crate) durable: watch::Sender<Option<LogIndex>>,
    pub(crate) failure: watch::Sender<Option<Arc<StorageError>>>,
    pub(crate) room: watch::Sender<Room>,
    pub(crate) scarce: watch::Sender<bool>,
    state: Mutex<State>,
}

impl Shared {
    pub(crate) fn new(env: Env, options: StorageOptions, state: State) -> Shared {
        let durable = watch::Sender::new(state.durable_end.0.checked_sub(1).map(LogIndex));
        Shared {
            env,
            options,
            queue: Queue::default(),
            counters: Counters::default(),
            damage: DamageReports::default(),
            durable,
            failure: watch::Sender::new(None),
            room: watch::Sender::default(),
            scarce: watch::Sender::default(),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the log's state")
    }

    /// Syncs the records of a segment. The I/O thread and the background sync do it with one open file, which is told of a
    /// failed write-back once: so the log has failed before anybody's next sync can look good (hazards 31), and nothing is
    /// made of a sync once it has.
    pub(crate) fn sync(&self, segment: &Segment) -> Result<(), Arc<StorageError>> {
        let turn = segment.sync_turn();
        let begin = self.env.clock.monotonic();
        let synced = segment.file.sync_data();
        if let Err(source) = synced.map_err(Arc::new)
            && !planted::is(Bug::SwallowedFsyncError)
        {
            return Err(self.fail(StorageError::Io { action: "syncing", file: segment.path.clone(), source }));
        }
        self.counters.synced(self.env.clock.monotonic().saturating_sub(begin));
        drop(turn);
        match &self.lock().failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }

    /// Says that entries below `end` are synced, if the epoch is still that of the sync.
    pub(crate) fn publish_durable(&self, state: &mut State, epoch: u64, end: LogIndex) {
        if epoch == state.epoch && end > state.durable_end {
            self.set_durable(state, end);
        }
    }

    /// Sets the durable end; falls only at a truncation.
    pub(crate) fn set_durable(&self, state: &mut State, end: LogIndex) {
        assert!(end <= state.tail.next(), "nothing is durable that is not in the log");
        state.durable_end = end;
        #[cfg(tercet_sim)]
        crate::sim::observe::observe(crate::sim::observe::Deed::Synced(end));
        self.durable.send_replace(end.0.checked_sub(1).map(LogIndex));
    }

    /// Takes no more calls. No call is between its check and its push, because both happen under the lock.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.queue.close();
    }

    /// Marks the log as dead; the first error stays.
    pub(crate) fn fail(&self, error: StorageError) -> Arc<StorageError> {
        let mut state = self.lock();
        if let Some(first) = &state.failure {
            return first.clone();
        }
        let error = Arc::new(error);
        state.failure = Some(error.clone());
        if !matches!(*error, StorageError::Stopped) {
            tracing::error!(dir = %self.options.dir.display(), %error, "the log failed; the node must stop");
            self.failure.send_replace(Some(error.clone()));
        }
        error
    }
}
