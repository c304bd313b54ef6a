//! openraft's state machine on top of the thread that owns the user's.
//!
//! Its snapshots are our kept checkpoints. Which one it is told of depends on who asks:
//! - At the start and after each new one: the newest. openraft purges nothing beyond it.
//! - To bring a follower up: the one at the purge point, or where openraft was asked to purge to, so that the follower
//!   ends with every retained entry (hazards 25). openraft takes the follower's progress from what it was given, so an
//!   older one is legal.
//!
//! Installing one has no mark of its own. The checkpoint is complete on disk before; then the log begins anew behind it,
//! durably and at once, and only then is the state replaced. A crash in between leaves a state that lies before the
//! log's start, and opening restores the checkpoint there: see [`recover`](super::recover).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::{Stream, StreamExt};
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};

use crate::checkpoint::{Checkpoint, Checkpoints, Sealing};
use crate::exec;
use crate::membership::Membership;
use crate::planted::{self, Bug};
use crate::raft::completion::{completed, completion};
use crate::raft::pace::Pace;
use crate::raft::state_worker::StateWorker;
use crate::raft::type_config::{
    RaftEntry, RaftLogId, RaftStoredMembership, TypeConfig, log_id, membership, raft_log_id, raft_membership,
};
use crate::state_machine::{AppliedPoint, ApplyEntry, ApplyKind};
use crate::storage::Log;
use crate::types::LogIndex;

/// Entries queued at once.
const APPLY_ENTRIES_MAX: usize = 4096;
/// Payload bytes queued at once, one entry more at most.
const APPLY_BYTES_MAX: usize = 8 << 20;

/// How fast the new files of a checkpoint are read to be summed.
const SEAL_BYTES_PER_SECOND: u64 = 64 << 20;

/// The state machine as openraft sees it.
#[derive(Clone)]
pub(crate) struct StateAdapter {
    worker: StateWorker,
    checkpoints: Arc<Checkpoints>,
    log: Log,
    serving: Arc<AtomicBool>,
    /// Everything before this index is purged or about to be.
    purge_scheduled: Arc<AtomicU64>,
}

impl StateAdapter {
    pub(crate) fn new(worker: StateWorker, checkpoints: Arc<Checkpoints>, log: Log) -> StateAdapter {
        StateAdapter { worker, checkpoints, log, serving: Arc::default(), purge_scheduled: Arc::default() }
    }

    /// From now on, followers may be brought up.
    pub(crate) fn serve(&self) {
        self.serving.store(true, Ordering::Relaxed);
    }

    /// openraft is asked to purge up to here. From now on it takes a follower that ends before for one that needs a
    /// checkpoint, though the purge itself may wait for long: one from before would not bring it up.
    pub(crate) fn schedule_purge(&self, index: LogIndex) {
        self.purge_scheduled.fetch_max(index.0, Ordering::Relaxed);
    }

    /// Makes a checkpoint of what is applied now, unless it is there. An error leaves everything as it was.
    pub(crate) async fn checkpoint(&self) -> io::Result<Option<Arc<Checkpoint>>> {
        let into = self.checkpoints.clone();
        let Some(point) = self.worker.checkpoint(into.clone()).await.map_err(io::Error::other)? else {
            return Ok(None);
        };
        let sealed = self.seal(point).await;
        if sealed.is_err() {
            into.abandon();
        }
        sealed.map(Some)
    }

    /// Seals what the state machine wrote, at a rate that leaves the disk to publishing.
    async fn seal(&self, point: AppliedPoint) -> io::Result<Arc<Checkpoint>> {
        let pace = Pace::new(SEAL_BYTES_PER_SECOND);
        let checkpoints = self.checkpoints.clone();
        let mut sealing = exec::blocking(move || Sealing::begin(&checkpoints, point)).await??;
        loop {
            let read;
            (sealing, read) = exec::blocking(move || {
                let read = sealing.step();
                (sealing, read)
            })
            .await?;
            let Some(bytes) = read? else { break };
            pace.take(bytes).await;
        }
        let checkpoints = self.checkpoints.clone();
        Ok(exec::blocking(move || sealing.finish(&checkpoints)).await??)
    }

    async fn begin_log_after(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let id = checkpoint.id();
        let bounds = self.log.bounds();
        // An entry at this index is the checkpoint's own, because openraft has truncated any other: the log stays.
        if bounds.last.is_some_and(|last| last.index >= id.index) {
            return Ok(());
        }
        if bounds.last.is_some_and(|last| last.term > id.term) {
            // Uncommitted entries of a later term, which the checkpoint overrules. What else lies there is held by the
            // majority that committed the checkpoint's entry, which this node was not part of.
            let (done, truncated) = completion();
            self.log.truncate_after(bounds.purged.map(|purged| purged.index), done).map_err(io::Error::other)?;
            completed(truncated).await?;
        }
        let (done, begun) = completion();
        self.log.begin_after(id, done).map_err(io::Error::other)?;
        completed(begun).await
    }
}

fn apply_entry(entry: RaftEntry) -> ApplyEntry {
    let kind = match entry.payload {
        EntryPayload::Blank => ApplyKind::Blank,
        EntryPayload::Normal(command) => ApplyKind::Command(command.payload),
        EntryPayload::Membership(of) => ApplyKind::Membership(membership(&of)),
    };
    ApplyEntry { id: log_id(entry.log_id), kind }
}

/// The applied point in openraft's terms.
fn raft_point(point: Option<&AppliedPoint>) -> io::Result<(Option<RaftLogId>, RaftStoredMembership)> {
    let Some(point) = point else {
        return Ok((None, RaftStoredMembership::default()));
    };
    let stored = match &point.membership {
        None => RaftStoredMembership::default(),
        Some((id, bytes)) => {
            let decoded = Membership::decode(bytes).map_err(io::Error::other)?;
            RaftStoredMembership::new(Some(raft_log_id(*id)), raft_membership(decoded).map_err(io::Error::other)?)
        }
    };
    Ok((Some(raft_log_id(point.id)), stored))
}

/// A checkpoint in openraft's terms.
pub(crate) fn raft_snapshot(checkpoint: Arc<Checkpoint>) -> io::Result<SnapshotOf<TypeConfig, Arc<Checkpoint>>> {
    let (last_log_id, mut last_membership) = raft_point(Some(&checkpoint.manifest.point))?;
    if planted::is(Bug::MembersNotRestored) {
        last_membership = RaftStoredMembership::default();
    }
    Ok(SnapshotOf::<TypeConfig, _> {
        meta: SnapshotMetaOf::<TypeConfig> { last_log_id, last_membership },
        snapshot: checkpoint,
    })
}

impl RaftStateMachine<TypeConfig> for StateAdapter {
    type SnapshotData = Arc<Checkpoint>;
    type SnapshotBuilder = StateAdapter;

    async fn applied_state(&mut self) -> Result<(Option<RaftLogId>, RaftStoredMembership), io::Error> {
        raft_point(self.worker.point().await.map_err(io::Error::other)?.as_ref())
    }

    /// Hands over what is committed. It is applied when [`StateWorker::applied`] says so, and not when openraft does.
    async fn apply<S>(&mut self, mut stream: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        loop {
            let (mut entries, mut responders, mut bytes) = (Vec::new(), Vec::new(), 0);
            while entries.len() < APPLY_ENTRIES_MAX && bytes < APPLY_BYTES_MAX {
                let Some(item) = stream.next().await else { break };
                let (entry, responder) = item?;
                let entry = apply_entry(entry);
                bytes += entry.payload_bytes();
                entries.push(entry);
                responders.push(responder);
            }
            if entries.is_empty() {
                return Ok(());
            }
            self.worker.apply(entries, responders).await.map_err(io::Error::other)?;
        }
    }

    async fn get_snapshot_builder(&mut self) -> StateAdapter {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMetaOf<TypeConfig>,
        checkpoint: Arc<Checkpoint>,
    ) -> Result<(), io::Error> {
        // What was handed over before is in the log, which begins anew now.
        self.worker.point().await.map_err(io::Error::other)?;
        self.begin_log_after(&checkpoint).await?;
        self.worker.restore(checkpoint.clone()).await.map_err(io::Error::other)?;
        tracing::info!(id = %checkpoint.id(), "a checkpoint is installed; the log goes on behind it");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<TypeConfig, Arc<Checkpoint>>>, io::Error> {
        let checkpoint = if self.serving.load(Ordering::Relaxed) {
            let purged = self.log.bounds().purged.map_or(LogIndex(0), |purged| purged.index);
            let scheduled = LogIndex(self.purge_scheduled.load(Ordering::Relaxed));
            self.checkpoints.oldest_from(purged.max(scheduled))
        } else {
            self.checkpoints.newest()
        };
        checkpoint.map(raft_snapshot).transpose()
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateAdapter {
    type SnapshotData = Arc<Checkpoint>;

    /// Retention makes checkpoints when it is time, where a failure harms nobody, and then has openraft look: so this
    /// finds one. Only a node that has lost all of them makes one here. One of the leader's that has come in and is not
    /// installed yet is none of this node's state: were it told as built here, openraft would never install it.
    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, Arc<Checkpoint>>, io::Error> {
        let applied = self.worker.point().await.map_err(io::Error::other)?.map(|point| point.id.index);
        let checkpoint = match applied.and_then(|applied| self.checkpoints.newest_below(applied.next())) {
            Some(checkpoint) => Some(checkpoint),
            None => self.checkpoint().await?,
        };
        let checkpoint = checkpoint.ok_or_else(|| io::Error::other("nothing is applied, so there is no checkpoint"))?;
        raft_snapshot(checkpoint)
    }
}
