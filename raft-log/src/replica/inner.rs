//! What a replica consists of, and its end.

use std::sync::{Arc, Mutex};

use openraft::raft::linearizable_read::Linearizer;
use tokio::sync::{Semaphore, watch};

use crate::env::Env;
use crate::exec::Thread;
use crate::last_run::LastRun;
use crate::raft::core::RaftCore;
use crate::raft::network::peers::Peers;
use crate::raft::state_worker::{AppliedIndex, StateWorker};
use crate::raft::type_config::TypeConfig;
use crate::raft::vote_gate::VoteGate;
use crate::replica::error::{ProposeError, ReadError};
use crate::replica::leadership::Leadership;
use crate::replica::options::ReplicaOptions;
use crate::replica::read_point::ReadPoints;
use crate::replica::stamps::Stamps;
use crate::replica::status::Status;
use crate::replica::thread::CoreThread;
use crate::storage::Log;
use crate::types::LogIndex;

pub(crate) struct Inner {
    pub(crate) raft: RaftCore,
    pub(super) log: Log,
    pub(super) peers: Arc<Peers>,
    pub(super) gate: VoteGate,
    pub(super) last_run: Arc<LastRun>,
    pub(super) env: Env,
    /// The channels stay open when the core has stopped: watchers then see why, until the last clone is dropped.
    pub(super) status: watch::Sender<Status>,
    pub(super) standing: watch::Sender<Status>,
    pub(super) leadership: Leadership,
    pub(super) applied: AppliedIndex,
    pub(super) bytes_in_flight: Arc<Semaphore>,
    pub(super) stamps: Stamps,
    pub(super) read_points: Arc<ReadPoints<Result<Linearizer<TypeConfig>, ProposeError>>>,
    pub(super) options: ReplicaOptions,
    pub(super) threads: Mutex<Option<Threads>>,
}

pub(crate) struct Threads {
    pub(super) core: CoreThread,
    pub(super) worker: StateWorker,
    pub(super) apply_joiner: Thread,
}

impl Inner {
    /// Where the applied entries end, if `from` is before it.
    pub(super) fn readable_end(&self, from: LogIndex) -> Result<LogIndex, ReadError> {
        let applied = self.applied.get();
        let end = applied.map_or(LogIndex(0), LogIndex::next);
        if from < end { Ok(end) } else { Err(ReadError::NotApplied { from, applied }) }
    }

    /// Ends the threads and closes the log; with `flush`, the state is persisted as far as the log is durable.
    pub(super) fn finish(&self, flush: bool) {
        let threads = self.threads.lock().expect("no holder of this lock panics").take();
        let Some(threads) = threads else { return };
        threads.core.stop.cancel();
        // A panic on either thread was reported when it happened; both are gone now.
        threads.core.joiner.join();
        self.log.shutdown();
        if flush {
            self.end_cleanly();
            threads.worker.finish();
        }
        drop(threads.worker);
        threads.apply_joiner.join();
    }

    /// Says that nothing is forgotten, if the disk holds the whole log (hazards 10).
    fn end_cleanly(&self) {
        let last = self.log.bounds().last.map(|last| last.index);
        if *self.log.durable().borrow() < last || self.log.failure().borrow().is_some() {
            return;
        }
        if let Err(error) = self.last_run.end() {
            tracing::warn!(%error, "that this run ended cleanly could not be written");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.finish(false);
    }
}
