//! The thread that runs openraft and the network of one replica.
//!
//! It has a runtime of its own: whatever the process does beside it, heartbeats leave and votes are answered in time
//! (hazards 12). Everything on it ends when it is told to stop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::type_config::TypeConfigExt;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::checkpoint::Checkpoints;
use crate::env::Env;
use crate::exec::{self, Thread};
use crate::last_run::LastRun;
use crate::membership::MemberNode;
use crate::raft::core::RaftCore;
use crate::raft::early_campaign::{EarlyCampaign, Evidence};
use crate::raft::log_store::LogStore;
use crate::raft::network::link::{LinkFactory, Sending};
use crate::raft::network::net::{self, BoundListener, TcpListener};
use crate::raft::network::peers::Peers;
use crate::raft::network::ranges::serve_only;
use crate::raft::network::receive::Receiving;
use crate::raft::network::server::{self, Connection};
use crate::raft::pace::Pace;
use crate::raft::retention::{
    AgePause, CatchUps, LostCheckpoint, Retention, RetentionParts, RollCheckpoints, TrimWays,
};
use crate::raft::state_adapter::StateAdapter;
use crate::raft::state_worker::StateWorker;
use crate::raft::type_config::TypeConfig;
use crate::raft::vote_gate::VoteGate;
use crate::replica::doubt::Doubt;
use crate::replica::leadership::Leadership;
use crate::replica::options::{ElectionOptions, RetentionOptions};
use crate::replica::repair::online::OnlineRepair;
use crate::replica::repair::{members, scrub};
use crate::replica::status::Health;
use crate::replica::status_task::StatusTask;
use crate::replica::{OpenError, disk_watch, older_copies, step_down, unfinished};
use crate::storage::Log;
use crate::types::NodeId;

/// A leader that no quorum answers is silent for two of the longest timeouts, and is no leader to keep a connection for
/// after twice that and a few heartbeats.
const SILENT_HEARTBEATS: u32 = 5;

/// What is kept of the log, and what the state machine can do for that.
#[derive(Clone)]
pub(crate) struct Keeping {
    pub(crate) options: RetentionOptions,
    pub(crate) ways: TrimWays,
    /// Why nothing goes by age now.
    pub(crate) age_pause: watch::Sender<Option<AgePause>>,
}

/// What the thread is started with.
pub(crate) struct CoreParts {
    pub(crate) node_id: NodeId,
    pub(crate) config: openraft::Config,
    pub(crate) listener: BoundListener,
    pub(crate) peers: Arc<Peers>,
    pub(crate) gate: VoteGate,
    pub(crate) store: LogStore,
    pub(crate) state: StateAdapter,
    pub(crate) worker: StateWorker,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) env: Env,
    pub(crate) dir: PathBuf,
    pub(crate) retention: Keeping,
    pub(crate) status: StatusTask,
    /// Who may hold this node's entries, before the core knows.
    pub(crate) members: Vec<(NodeId, MemberNode)>,
    pub(crate) scrub_bytes_per_second: u64,
    pub(crate) evidence: Evidence,
    pub(crate) election: ElectionOptions,
    pub(crate) disk_stall_max: Duration,
    pub(crate) last_run: Arc<LastRun>,
}

/// The running thread.
pub(crate) struct CoreThread {
    pub(crate) stop: CancellationToken,
    pub(crate) joiner: Thread,
}

/// Binds the peer port; it is taken over by the thread.
pub(crate) fn bind(address: SocketAddr) -> Result<BoundListener, OpenError> {
    net::bind(address).map_err(|source| OpenError::Listen { address, source })
}

/// A peer port that the caller has bound.
pub(crate) fn taken_over(listener: std::net::TcpListener) -> Result<BoundListener, OpenError> {
    net::from_std(listener).map_err(|error| OpenError::Options(error.to_string()))
}

/// Starts openraft on a thread of its own.
pub(crate) async fn start(parts: CoreParts) -> Result<(RaftCore, CoreThread), OpenError> {
    let stop = CancellationToken::new();
    let name = format!("raft-{}", parts.node_id);
    let (launched, joiner) = exec::runtime(name, stop.clone(), launch(parts, stop.clone()))
        .await
        .map_err(|error| OpenError::Raft(error.to_string()))?;
    Ok((launched?, CoreThread { stop, joiner }))
}

async fn launch(parts: CoreParts, stop: CancellationToken) -> Result<RaftCore, OpenError> {
    let (start_retention, start_scrub) = (retention_of(&parts), scrub_of(&parts));
    // Before the core, which reads the log when it starts.
    drop(TypeConfig::spawn(online_repair(&parts).run()));
    let receiving = Arc::new(receiving(&parts));
    let listener = net::adopt(parts.listener).map_err(|error| OpenError::Raft(error.to_string()))?;
    let catch_ups = Arc::new(CatchUps::default());
    let sending = Sending {
        env: parts.env.clone(),
        log: parts.status.log.clone(),
        pace: Pace::new(parts.retention.options.transfer_bytes_per_second),
        catch_ups: catch_ups.clone(),
    };
    let votes = parts.store.votes();
    let links = LinkFactory::new(parts.peers.clone(), parts.gate.clone(), votes.clone(), Arc::new(sending));
    let config = Arc::new(parts.config);
    let building = RaftCore::build(parts.node_id, config, links.clone(), parts.store, parts.state.clone());
    let built = tokio::select! {
        built = building => built,
        never = serve_while_damaged(&listener, parts.peers.clone(), parts.status.log.clone()) => match never {},
    };
    let raft = built.map_err(|fatal| not_started(parts.node_id, &parts.status.health.borrow(), &fatal.to_string()))?;
    parts.state.serve();
    parts.peers.follow(raft.clone());
    // Before the core runs: a node that is gated from the start must not campaign once.
    parts.gate.govern(&raft);
    raft.run();
    let connections = Connection {
        peers: parts.peers.clone(),
        raft: raft.clone(),
        gate: parts.gate.clone(),
        votes,
        evidence: parts.evidence.clone(),
        receiving,
        ranges: Arc::new(parts.status.log.clone()),
        silence_max: silence_max(parts.election),
    };
    drop(TypeConfig::spawn(server::serve(listener, connections, stop)));
    drop(TypeConfig::spawn(members::keep(raft.clone(), parts.env.clone(), parts.dir.clone())));
    start_scrub();
    let campaign = EarlyCampaign {
        id: parts.node_id,
        env: parts.env.clone(),
        raft: raft.clone(),
        links,
        gate: parts.gate.clone(),
        evidence: parts.evidence,
    };
    drop(TypeConfig::spawn(campaign.run()));
    let leadership = parts.status.leadership(raft.clone(), parts.election);
    start_retention(&raft, catch_ups, leadership.clone());
    drop(TypeConfig::spawn(unfinished::run(raft.clone())));
    drop(TypeConfig::spawn(older_copies::run(leadership.clone(), parts.peers.clone())));
    if parts.last_run.is_in_doubt() {
        drop(TypeConfig::spawn(doubt(&raft, &parts.status, parts.gate.clone(), parts.last_run).run()));
    }
    let room = parts.status.log.room();
    drop(TypeConfig::spawn(step_down::for_want_of_room(leadership.clone(), parts.peers, room)));
    drop(TypeConfig::spawn(step_down::run(leadership, parts.gate.clone())));
    drop(TypeConfig::spawn(disk_watch::run(parts.status.log.clone(), parts.gate, parts.disk_stall_max)));
    drop(TypeConfig::spawn(parts.status.run(raft.clone())));
    Ok(raft)
}

/// How long a leader may send nothing at all.
fn silence_max(election: ElectionOptions) -> Duration {
    election.heartbeat_interval * SILENT_HEARTBEATS + election.timeout_max * 4
}

fn doubt(raft: &RaftCore, status: &StatusTask, gate: VoteGate, last_run: Arc<LastRun>) -> Doubt {
    let (log, watch) = (status.log.clone(), status.leader_watch.clone());
    Doubt { id: status.identity.node_id, raft: raft.clone(), log, watch, gate, last_run }
}

fn receiving(parts: &CoreParts) -> Receiving {
    Receiving {
        checkpoints: parts.checkpoints.clone(),
        worker: parts.worker.clone(),
        log: parts.status.log.clone(),
        group: parts.peers.identity.group,
        slot: Mutex::default(),
    }
}

/// The scrub, to be started when the core is there.
fn scrub_of(parts: &CoreParts) -> impl FnOnce() + Send + use<> {
    let (log, checkpoints) = (parts.status.log.clone(), parts.checkpoints.clone());
    let bytes_per_second = parts.scrub_bytes_per_second;
    move || drop(TypeConfig::spawn(scrub::run(log, checkpoints, bytes_per_second)))
}

/// Checkpoints at segment rolls, what takes the place of a lost one, and what goes of the log; to be started when the core is there.
fn retention_of(parts: &CoreParts) -> impl FnOnce(&RaftCore, Arc<CatchUps>, Leadership) + Send + use<> {
    let (node, env, dir) = (parts.node_id, parts.env.clone(), parts.dir.clone());
    let Keeping { options, ways, age_pause } = parts.retention.clone();
    let (peers, log, state, worker) =
        (parts.peers.clone(), parts.status.log.clone(), parts.state.clone(), parts.worker.clone());
    let checkpoints = parts.checkpoints.clone();
    move |raft, catch_ups, leadership| {
        let rolls = RollCheckpoints {
            node,
            options,
            raft: raft.clone(),
            log: log.clone(),
            state: state.clone(),
            worker: worker.clone(),
            checkpoints: checkpoints.clone(),
            put_off: 0,
        };
        drop(TypeConfig::spawn(rolls.run()));
        let lost_checkpoint = LostCheckpoint {
            raft: raft.clone(),
            log: log.clone(),
            state: state.clone(),
            checkpoints: checkpoints.clone(),
            catch_ups: catch_ups.clone(),
            leadership,
            check_interval: options.check_interval,
        };
        drop(TypeConfig::spawn(lost_checkpoint.run()));
        let raft = raft.clone();
        let parts = RetentionParts {
            node,
            env,
            dir,
            options,
            raft,
            peers,
            log,
            state,
            worker,
            checkpoints,
            catch_ups,
            ways,
            age_pause,
        };
        drop(TypeConfig::spawn(Retention::new(parts).run()));
    }
}

/// Once the core has met damage while it starts: serves the good ranges, so that nodes which were damaged together repair
/// each other.
async fn serve_while_damaged(listener: &TcpListener, peers: Arc<Peers>, log: Log) -> Infallible {
    log.damage().next(None).await;
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    serve_only(listener, peers, Arc::new(log), stop).await
}

/// Why the core did not start. What it reads then may be damaged where opening trusted a saved index; it waits for the
/// repair, but not for ever.
fn not_started(node: NodeId, health: &Health, fatal: &str) -> OpenError {
    match health {
        Health::Damaged { reason } => {
            let waited = "the node needs it to start, and has waited".to_owned();
            OpenError::NotRepairable { damage: reason.clone(), reason: waited, node }
        }
        _ => OpenError::Raft(fatal.to_owned()),
    }
}

fn online_repair(parts: &CoreParts) -> OnlineRepair {
    OnlineRepair {
        log: parts.status.log.clone(),
        peers: parts.peers.clone(),
        members: parts.members.clone(),
        gate: parts.gate.clone(),
        health: parts.status.health.clone(),
        status: parts.status.status.clone(),
    }
}
