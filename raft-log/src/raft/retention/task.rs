//! The task that looks at the bounds, on every node.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use tokio::time::Instant;

use super::asked::AskedPurges;
use super::catch_ups::CatchUps;
use super::policy::{DiskUse, keep_from};
use crate::checkpoint::Checkpoints;
use crate::env::Env;
use crate::exec;
use crate::planted::{self, Bug};
use crate::raft::log_store::{completed, completion};
use crate::raft::state_adapter::StateAdapter;
use crate::raft::state_worker::StateWorker;
use crate::raft::type_config::{Command, RaftCore};
use crate::replica::RetentionOptions;
use crate::storage::{Log, SegmentInfo};
use crate::types::{LogIndex, NodeId};

/// A trim that is not stored by then is proposed anew.
const TRIM_TIMEOUT: Duration = Duration::from_secs(10);
/// A trim that was stored, but held back by what the state machine needs, is proposed anew after this time.
const TRIM_AGAIN: Duration = Duration::from_secs(30);

/// Checkpoints of a segment that all nodes begin at about the same time are begun over so many looks.
const CHECKPOINT_SPREAD_LOOKS: u64 = 4;

/// See the module.
pub(crate) struct Retention {
    pub(crate) node: NodeId,
    pub(crate) env: Env,
    pub(crate) dir: PathBuf,
    pub(crate) options: RetentionOptions,
    pub(crate) raft: RaftCore,
    pub(crate) log: Log,
    pub(crate) state: StateAdapter,
    pub(crate) worker: StateWorker,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) catch_ups: Arc<CatchUps>,
    pub(crate) progress: Progress,
}

/// What it has done so far.
#[derive(Default)]
pub(crate) struct Progress {
    trimmed: Option<Trimmed>,
    /// Looks for which the checkpoint that is due was put off.
    put_off: u64,
    asked: AskedPurges,
}

/// The trim that was proposed last. One that could not be followed in full is not proposed again at every look.
#[derive(Clone, Copy)]
pub(crate) struct Trimmed {
    to: LogIndex,
    at: Instant,
}

impl Retention {
    /// Looks at the bounds until the core stops.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::time::sleep(self.options.check_interval).await;
            if self.raft.metrics().borrow_watched().running_state.is_err() {
                return;
            }
            // Each step is tried again at the next look; none of them may stop the node.
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "retention could not do its work; it tries again");
            }
        }
    }

    async fn look(&mut self) -> io::Result<()> {
        self.progress.asked.done(self.log.bounds().purged);
        let segments = self.log.segments();
        self.checkpoint_at_rolls(&segments).await?;
        let disk = self.disk_use().await?;
        let needed = self.worker.needed_from().await.map_err(io::Error::other)?;
        let wanted = keep_from(&segments, self.env.clock.unix_millis(), disk, &self.options);
        let repeated = self.progress.trimmed.is_some_and(|last| last.to == wanted && last.at.elapsed() < TRIM_AGAIN);
        if wanted > needed && self.leads() && !repeated {
            self.trim(wanted).await?;
            self.progress.trimmed = Some(Trimmed { to: wanted, at: Instant::now() });
        }
        let forced = disk.excess(self.options.disk_high_water_percent) > 0;
        self.purge(needed.min(wanted), forced).await?;
        self.release(&segments).await
    }

    /// A checkpoint for each segment that was begun: the finer they lie, the closer to its bounds the log is purged. Nodes
    /// begin their segments at about the same time, and each waits for a number of looks of its own.
    async fn checkpoint_at_rolls(&mut self, segments: &[SegmentInfo]) -> io::Result<()> {
        let Some(newest) = segments.last().filter(|_| segments.len() > 1) else { return Ok(()) };
        let begun = newest.base;
        let due = self.checkpoints.newest().is_none_or(|checkpoint| checkpoint.id().index < begun);
        if !due || self.worker.applied().get() < Some(begun) {
            return Ok(());
        }
        if self.progress.put_off < self.node.0 % CHECKPOINT_SPREAD_LOOKS {
            self.progress.put_off += 1;
            return Ok(());
        }
        self.progress.put_off = 0;
        let made = self.state.checkpoint().await?;
        if let Some(made) = made {
            tracing::info!(node = %self.node, id = %made.id(), bytes = made.manifest.bytes(), "a checkpoint is made");
        }
        self.raft.trigger().snapshot().await.map_err(io::Error::other)?;
        let (checkpoints, kept_max) = (self.checkpoints.clone(), self.options.checkpoints_max);
        let purged = self.log.bounds().purged.map(|purged| purged.index);
        Ok(exec::blocking(move || checkpoints.thin(purged, kept_max)).await??)
    }

    async fn disk_use(&self) -> io::Result<DiskUse> {
        let (disk, dir) = (self.env.disk.clone(), self.dir.clone());
        exec::blocking(move || Ok(DiskUse { free: disk.free_bytes(&dir)?, total: disk.total_bytes(&dir)? })).await?
    }

    fn leads(&self) -> bool {
        self.raft.metrics().borrow_watched().state == ServerState::Leader
    }

    /// Asks all state machines to let go of what is below `to`.
    async fn trim(&self, to: LogIndex) -> io::Result<()> {
        let Some(payload) = self.worker.trim_command(to).await.map_err(io::Error::other)? else { return Ok(()) };
        let command = Command { payload_crc: crc32c::crc32c(&payload), payload, count: 0 };
        let written = tokio::time::timeout(TRIM_TIMEOUT, self.raft.client_write(command)).await;
        written.map_err(io::Error::other)?.map_err(io::Error::other)?;
        tracing::info!(node = %self.node, %to, "the log is trimmed");
        Ok(())
    }

    /// Moves Raft's start to the newest checkpoint below `keep_from`: what this node's bounds spare and what the state
    /// machine needs.
    async fn purge(&mut self, keep_from: LogIndex, forced: bool) -> io::Result<()> {
        self.catch_ups.review(self.matched().as_ref(), Instant::now());
        let keep_from = if planted::is(Bug::PurgedTooFar) { LogIndex(u64::MAX) } else { keep_from };
        let Some(checkpoint) = self.checkpoints.newest_below(keep_from) else { return Ok(()) };
        if self.log.bounds().purged.is_some_and(|purged| purged >= checkpoint.id()) {
            return Ok(());
        }
        if self.catch_ups.any() && !forced {
            tracing::debug!(node = %self.node, to = %checkpoint.id(), "purging waits for a follower that catches up");
            return Ok(());
        }
        let to = checkpoint.id().index.0;
        self.progress.asked.ask(checkpoint);
        self.state.schedule_purge(LogIndex(to));
        self.raft.trigger().purge_log(to).await.map_err(io::Error::other)
    }

    /// What the followers hold, on the leader.
    fn matched(&self) -> Option<BTreeMap<NodeId, Option<LogIndex>>> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.as_ref()?.iter();
        Some(matched.map(|(node, matched)| (*node, matched.map(|id| LogIndex(id.index)))).collect())
    }

    /// Gives the space of whole purged segments back. openraft has purged only what no replication stream reads.
    async fn release(&self, segments: &[SegmentInfo]) -> io::Result<()> {
        let Some(purged) = self.log.bounds().purged else { return Ok(()) };
        let end = purged.index.next();
        if !segments.iter().any(|segment| segment.sealed && segment.end <= end) {
            return Ok(());
        }
        let (done, released) = completion();
        self.log.release_below(end, done).map_err(io::Error::other)?;
        completed(released).await?;
        let (checkpoints, kept_max) = (self.checkpoints.clone(), self.options.checkpoints_max);
        exec::blocking(move || checkpoints.thin(Some(purged.index), kept_max)).await??;
        tracing::info!(node = %self.node, %purged, "purged segments are released");
        Ok(())
    }
}
