//! The task that looks at the bounds, on every node.
//!
//! Its steps do not depend on each other's success, and what gives space back comes first.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;
use tokio::time::Instant;

use super::age_clock::{AgeClock, AgePause};
use super::age_pace::AgePace;
use super::ages::{Ages, youngest_stamp};
use super::asked::AskedPurges;
use super::catch_ups::CatchUps;
use super::looks::next_look;
use super::policy::{behind, one_trim, oversized};
use crate::checkpoint::Checkpoints;
use crate::env::Env;
use crate::exec;
use crate::planted::{self, Bug};
use crate::raft::clocks::millis;
use crate::raft::completion::{completed, completion};
use crate::raft::core::RaftCore;
use crate::raft::network::peers::Peers;
use crate::raft::state_adapter::StateAdapter;
use crate::raft::state_worker::StateWorker;
use crate::raft::type_config::Command;
use crate::replica::{RELEASE_AHEAD_PERCENT, RetentionOptions};
use crate::state_machine::{StampReader, StateMachine};
use crate::storage::{DiskUse, Log, SegmentInfo};
use crate::types::{LogIndex, NodeId, UnixMillis};

/// A trim that is not stored by then is proposed anew.
const TRIM_TIMEOUT: Duration = Duration::from_secs(10);
/// A trim that was stored, but held back by what the state machine needs, is proposed anew after this time.
const TRIM_AGAIN: Duration = Duration::from_secs(30);
/// While a disk fills, what everybody has read is let go of so often, a share of the log each time.
const RELEASE_AGAIN: Duration = Duration::from_secs(5);

/// What a state machine can do for retention; asked once, at open.
#[derive(Clone, Copy)]
pub(crate) struct TrimWays {
    /// It knows a command by which it lets go of entries.
    pub(crate) trims: bool,
    /// How the time at which a command was stamped is read from it.
    pub(crate) stamp_of: Option<StampReader>,
}

impl TrimWays {
    pub(crate) fn of(machine: &dyn StateMachine) -> TrimWays {
        TrimWays { trims: machine.trim_command(LogIndex(0)).is_some(), stamp_of: machine.stamp_reader() }
    }
}

/// What retention works with.
pub(crate) struct RetentionParts {
    pub(crate) node: NodeId,
    pub(crate) env: Env,
    pub(crate) dir: PathBuf,
    pub(crate) options: RetentionOptions,
    pub(crate) raft: RaftCore,
    pub(crate) peers: Arc<Peers>,
    pub(crate) log: Log,
    pub(crate) state: StateAdapter,
    pub(crate) worker: StateWorker,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) catch_ups: Arc<CatchUps>,
    pub(crate) ways: TrimWays,
    /// Why nothing goes by age now, on a leader.
    pub(crate) age_pause: watch::Sender<Option<AgePause>>,
}

/// See the module.
pub(crate) struct Retention {
    parts: RetentionParts,
    clock: AgeClock,
    age: ByAge,
    trimmed: Option<Trimmed>,
    released_early: Option<Instant>,
    asked: AskedPurges,
}

/// What is remembered of ages while this node leads.
#[derive(Default)]
struct ByAge {
    ages: Ages,
    pace: AgePace,
}

/// The trim that was proposed last. One that could not be followed in full is not proposed again at every look.
#[derive(Clone, Copy)]
struct Trimmed {
    to: LogIndex,
    at: Instant,
}

impl Retention {
    pub(crate) fn new(parts: RetentionParts) -> Retention {
        let clock = AgeClock::new(parts.options.clock_disagreement_max);
        Retention {
            parts,
            clock,
            age: ByAge::default(),
            trimmed: None,
            released_early: None,
            asked: AskedPurges::default(),
        }
    }

    /// Looks at the bounds until the core stops.
    pub(crate) async fn run(mut self) {
        while next_look(&self.parts.raft, self.parts.options.check_interval).await {
            self.look().await;
        }
    }

    /// Each step is tried again at the next look; none of them may stop the node or another step.
    async fn look(&mut self) {
        self.clock.look(self.parts.env.clock.unix_millis(), self.parts.env.clock.monotonic());
        self.asked.done(self.parts.log.bounds().purged);
        let segments = self.parts.log.segments();
        tell("purged segments could not be released", self.release(&segments).await);
        let needed = self.parts.worker.needed_from().await.map_err(io::Error::other);
        let Some(needed) = tell("what the state machine needs is not known", needed) else { return };
        tell("the log could not be purged", self.purge(&segments, needed).await);
        if self.leads() && self.parts.ways.trims {
            tell("the log could not be trimmed", self.trim(&segments, needed).await);
            tell("nothing could be released early", self.release_early(&segments, needed).await);
        } else {
            self.age = ByAge::default();
            self.set_pause(None);
        }
    }

    async fn disk_use(&self) -> io::Result<DiskUse> {
        let (disk, dir) = (self.parts.env.disk.clone(), self.parts.dir.clone());
        exec::blocking(move || Ok(DiskUse { free_bytes: disk.free_bytes(&dir)?, total_bytes: disk.total_bytes(&dir)? }))
            .await?
    }

    /// Whether the disk is above its high-water mark.
    async fn is_crowded(&self) -> io::Result<bool> {
        let mark = self.parts.options.disk_high_water_percent;
        Ok(mark < 100 && self.disk_use().await?.is_above(mark))
    }

    fn leads(&self) -> bool {
        self.parts.raft.metrics().borrow_watched().state == ServerState::Leader
    }

    /// Asks all state machines to let go of the oldest of what exceeds a bound, a share of the log at most.
    async fn trim(&mut self, segments: &[SegmentInfo], needed: LogIndex) -> io::Result<()> {
        let options = self.parts.options;
        let too_old = match options.age_max {
            Some(age_max) => self.too_old(segments, needed, age_max).await?,
            None => 0,
        };
        let too_large = options.bytes_max.map_or(0, |bytes_max| oversized(segments, bytes_max));
        let to = one_trim(segments, too_old.max(too_large), needed, options.trim_percent_max);
        let repeated = self.trimmed.is_some_and(|last| last.to == to && last.at.elapsed() < TRIM_AGAIN);
        if to <= needed || repeated {
            return Ok(());
        }
        let command = self.parts.worker.trim_command(to).await.map_err(io::Error::other)?;
        self.propose(command).await?;
        self.trimmed = Some(Trimmed { to, at: Instant::now() });
        let reason = if too_old >= too_large { "age" } else { "size" };
        tracing::info!(node = %self.parts.node, %to, reason, "the log is trimmed");
        Ok(())
    }

    /// While a disk fills, asks all state machines to let go of the oldest of what nobody has yet to read: of a share of the
    /// log, and again after a while, in which that space comes back. Groups that share a disk go on together so and never
    /// free much more than is missing.
    async fn release_early(&mut self, segments: &[SegmentInfo], needed: LogIndex) -> io::Result<()> {
        let options = self.parts.options;
        let mark = options.disk_high_water_percent;
        if mark >= 100 || self.released_early.is_some_and(|at| at.elapsed() < RELEASE_AGAIN) {
            return Ok(());
        }
        let fills = self.disk_use().await?.is_above(mark.saturating_sub(RELEASE_AHEAD_PERCENT));
        if !fills && self.parts.peers.rooms.all_have_room() {
            return Ok(());
        }
        let sealed = segments.iter().filter(|segment| segment.sealed).count();
        let to = one_trim(segments, sealed, needed, options.trim_percent_max);
        if to <= needed {
            return Ok(());
        }
        let make = self.parts.worker.release_command(to).await.map_err(io::Error::other)?;
        let Some(make) = make else { return Ok(()) };
        let command = exec::blocking(make).await?.map_err(io::Error::other)?;
        let any = command.is_some();
        self.propose(command).await?;
        self.released_early = Some(Instant::now());
        if any {
            tracing::info!(node = %self.parts.node, %to, "a disk fills: what everybody has read goes before its time");
        }
        Ok(())
    }

    async fn propose(&self, command: Option<Bytes>) -> io::Result<()> {
        let Some(payload) = command else { return Ok(()) };
        let command = Command { payload_crc: crc32c::crc32c(&payload), payload, count: 0 };
        let written = tokio::time::timeout(TRIM_TIMEOUT, self.parts.raft.client_write(command)).await;
        written.map_err(io::Error::other)?.map_err(io::Error::other)?;
        Ok(())
    }

    /// How many of the oldest segments are too old and may go now; none while nobody can tell.
    async fn too_old(&mut self, segments: &[SegmentInfo], needed: LogIndex, age_max: Duration) -> io::Result<usize> {
        let Some(stamp_of) = self.parts.ways.stamp_of else { return Ok(0) };
        let voters: BTreeSet<NodeId> = self.parts.peers.voters();
        let judged = self.clock.now(&self.parts.peers.clocks.read(&voters));
        self.set_pause(judged.err());
        let judged =
            if planted::is(Bug::RetentionByWrongClock) { Ok(self.parts.env.clock.unix_millis()) } else { judged };
        let Ok(now) = judged else { return Ok(0) };
        let limit = UnixMillis(now.0.saturating_sub(millis(age_max)));
        let (mut ages, listed, log) = (std::mem::take(&mut self.age.ages), segments.to_vec(), self.parts.log.clone());
        let (ages, expired) = exec::blocking(move || {
            let expired = ages.expired(&listed, limit, |segment| youngest_stamp(&log, segment, stamp_of));
            (ages, expired)
        })
        .await?;
        self.age.ages = ages;
        let pace = (age_max, self.parts.options.age_pace_max);
        Ok(self.age.pace.allow(segments, expired, needed, self.parts.env.clock.monotonic(), pace))
    }

    fn set_pause(&self, pause: Option<AgePause>) {
        self.parts.age_pause.send_if_modified(|current| {
            let news = *current != pause;
            match (&*current, &pause) {
                (Some(before), Some(now)) if before.same_cause(now) => {}
                // At the beginning of a leadership, and while members are away.
                (_, Some(now @ AgePause::FewClocks { .. })) => {
                    tracing::info!(node = %self.parts.node, "age retention is paused: {now}");
                }
                (_, Some(now)) => tracing::error!(node = %self.parts.node, "age retention is paused: {now}"),
                (Some(_), None) => tracing::info!(node = %self.parts.node, "age retention is not paused any more"),
                (None, None) => {}
            }
            *current = pause;
            news
        });
    }

    /// Moves Raft's start to the newest checkpoint below what the state machine needs. One that cannot be told what to let
    /// go of keeps by the size of this node's log alone.
    async fn purge(&mut self, segments: &[SegmentInfo], needed: LogIndex) -> io::Result<()> {
        self.parts.catch_ups.review(self.matched().as_ref(), Instant::now());
        let too_large = self.parts.options.bytes_max.map_or(0, |bytes_max| oversized(segments, bytes_max));
        let keep_from = match self.parts.ways.trims {
            _ if planted::is(Bug::PurgedTooFar) => LogIndex(u64::MAX),
            true => needed,
            false => needed.min(behind(segments, too_large)),
        };
        let (catch_ups, now) = (&self.parts.catch_ups, Instant::now());
        if catch_ups.hold(false, now) && catch_ups.hold(self.is_crowded().await?, now) {
            tracing::debug!(node = %self.parts.node, "purging waits for a follower that catches up");
            return Ok(());
        }
        let purged = self.parts.log.bounds().purged;
        let Some(to) = self.asked.next(&self.parts.checkpoints, keep_from, purged) else { return Ok(()) };
        self.parts.state.schedule_purge(to.index);
        self.parts.raft.trigger().purge_log(to.index.0).await.map_err(io::Error::other)
    }

    /// What the followers hold, on the leader.
    fn matched(&self) -> Option<BTreeMap<NodeId, Option<LogIndex>>> {
        let metrics = self.parts.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.as_ref()?.iter();
        Some(matched.map(|(node, matched)| (*node, matched.map(|id| LogIndex(id.index)))).collect())
    }

    /// Gives the space of whole purged segments back. openraft has purged only what no replication stream reads.
    async fn release(&self, segments: &[SegmentInfo]) -> io::Result<()> {
        let Some(purged) = self.parts.log.bounds().purged else { return Ok(()) };
        let end = purged.index.next();
        let any = segments.iter().any(|segment| segment.sealed && segment.end <= end);
        // Above the mark the spare segments go as well.
        let crowded = self.parts.log.stats().spare_bytes > 0 && self.is_crowded().await?;
        if !any && !crowded {
            return Ok(());
        }
        let (done, released) = completion();
        self.parts.log.release_below(end, done).map_err(io::Error::other)?;
        completed(released).await?;
        let (checkpoints, kept_max) = (self.parts.checkpoints.clone(), self.parts.options.checkpoints_max);
        exec::blocking(move || checkpoints.thin(Some(purged.index), kept_max)).await??;
        tracing::info!(node = %self.parts.node, %purged, "purged segments are released");
        Ok(())
    }
}

/// The result of a step; its failure is told.
fn tell<T>(failure: &str, result: io::Result<T>) -> Option<T> {
    result.inspect_err(|error| tracing::warn!(%error, "{failure}; it is tried again")).ok()
}
