//! Opening a replica: whose folder, whose log, whose state, then the core.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, watch};

use crate::checkpoint::Checkpoints;
use crate::env::Env;
use crate::exec;
use crate::identity::Identity;
use crate::last_run::LastRun;
use crate::raft::early_campaign::Evidence;
use crate::raft::log_store::LogStore;
use crate::raft::network::peers::Peers;
use crate::raft::recover::fit_state_to_log;
use crate::raft::rooms::Rooms;
use crate::raft::settings;
use crate::raft::state_adapter::StateAdapter;
use crate::raft::state_worker::{LogProgress, StateWorker};
use crate::raft::vote_gate::{GateReason, VoteGate};
use crate::replica::leadership::Leadership;
use crate::replica::options::{PeerListen, ReplicaOptions};
use crate::replica::status::Health;
use crate::replica::status_task::StatusTask;
use crate::replica::thread::{self, CoreParts};
use crate::replica::{Inner, OpenError, Threads};
use crate::state_machine::StateMachine;
use crate::storage::{Durability, Log, RecoveryReport, StorageOptions};

/// The largest payload that a frame between peers can carry.
pub(crate) const ENTRY_BYTES_LIMIT: usize = (8 << 20) + (64 << 10);

/// Room for a membership entry, however small the entries of the user are.
const MEMBERSHIP_BYTES_MAX: usize = if cfg!(tercet_sim) { 4 << 10 } else { 64 << 10 };

pub(crate) async fn open(
    mut options: ReplicaOptions,
    env: Env,
    machine: Box<dyn StateMachine>,
) -> Result<Inner, OpenError> {
    let config = check(&options)?;
    let listener = match std::mem::replace(&mut options.peer_listen, PeerListen::Taken) {
        PeerListen::Address(address) => thread::bind(address)?,
        PeerListen::Bound(listener) => thread::taken_over(listener)?,
        PeerListen::Taken => {
            return Err(OpenError::Options("the peer port was taken by an earlier opening".to_owned()));
        }
    };
    let Folder { log, identity, machine, checkpoints, last_run } = open_folder(&options, &env, machine).await?;
    let node_id = options.node_id;

    let progress = LogProgress { durable: log.durable(), failure: log.failure() };
    let started = StateWorker::start(node_id, machine, progress);
    let (worker, apply_joiner) = started.map_err(|error| OpenError::Raft(error.to_string()))?;
    let (health, _) = watch::channel(Health::Healthy);
    let (gate, evidence) = (gate_after(&last_run), Evidence::default());
    let status = watch::Sender::new(StatusTask::initial(&identity, &log, &gate));
    let standing = watch::Sender::new(status.borrow().clone());
    let rooms = Rooms::new(node_id, log.room());
    let peers = Arc::new(Peers::new(identity.clone(), options.advertised.clone(), rooms, health.clone()));
    let parts = CoreParts {
        node_id,
        config,
        listener,
        peers: peers.clone(),
        gate: gate.clone(),
        store: LogStore::new(log.clone(), identity.clone()),
        state: StateAdapter::new(worker.clone(), checkpoints.clone(), log.clone()),
        worker: worker.clone(),
        checkpoints,
        env: env.clone(),
        dir: options.dir.clone(),
        retention: options.retention,
        status: StatusTask {
            identity: identity.clone(),
            log: log.clone(),
            leader_watch: evidence.watch.clone(),
            gate: gate.clone(),
            leader_silence_max: options.election.timeout_max,
            health,
            status: status.clone(),
            standing: standing.clone(),
        },
        evidence,
        election: options.election,
        disk_stall_max: options.disk_stall_max,
        last_run: last_run.clone(),
    };
    let (raft, core) = thread::start(parts).await?;
    let election = options.election;
    let leadership = Leadership { raft: raft.clone(), status: status.clone(), standing: standing.clone(), election };
    Ok(Inner {
        raft,
        log,
        peers,
        gate,
        last_run,
        env,
        status,
        standing,
        leadership,
        applied: worker.applied().clone(),
        read_points: Arc::default(),
        bytes_in_flight: Arc::new(Semaphore::new(options.propose_bytes_in_flight_max)),
        options,
        threads: Mutex::new(Some(Threads { core, worker, apply_joiner })),
    })
}

/// What lies in a data folder, recovered and fitted together.
struct Folder {
    log: Log,
    identity: Arc<Identity>,
    machine: Box<dyn StateMachine>,
    checkpoints: Arc<Checkpoints>,
    last_run: Arc<LastRun>,
}

/// Says whose folder it is, recovers the log, and fits the state to it.
async fn open_folder(
    options: &ReplicaOptions,
    env: &Env,
    mut machine: Box<dyn StateMachine>,
) -> Result<Folder, OpenError> {
    let (node_id, group) = (options.node_id, options.group);
    Identity::check(env, &options.dir, node_id, group)?;
    let (durability, accept_async_loss) = (options.durability, options.accept_async_loss);
    let (env, options) = (env.clone(), storage_options(options));
    exec::blocking(move || {
        let dir = options.dir.clone();
        let (log, report) = Log::open(env.clone(), options)?;
        log_recovery(&report);
        #[cfg(tercet_sim)]
        crate::sim::observe::observe_opened(&log);
        let bounds = log.bounds();
        let empty = bounds.last.is_none() && bounds.purged.is_none() && log.hard_state().is_none();
        let identity = Identity::open(&env, &dir, node_id, group, empty)?;
        let last_run = begin_run(&env, &dir, durability, accept_async_loss)?;
        let checkpoints = Checkpoints::open(&env, &dir, group)?;
        fit_state_to_log(&env, machine.as_mut(), &checkpoints, &log)?;
        let (identity, checkpoints, last_run) = (Arc::new(identity), Arc::new(checkpoints), Arc::new(last_run));
        Ok(Folder { log, identity, machine, checkpoints, last_run })
    })
    .await
    .map_err(|error| OpenError::Raft(error.to_string()))?
}

/// Judges how the last run ended (hazards 10).
fn begin_run(env: &Env, dir: &Path, durability: Durability, accept_async_loss: bool) -> Result<LastRun, OpenError> {
    let last_run = LastRun::begin(env, dir, durability)?;
    if last_run.is_in_doubt() && accept_async_loss {
        tracing::warn!("the machine stopped while the log was async; what may be forgotten is accepted as lost");
        last_run.trust().map_err(|error| OpenError::Raft(error.to_string()))?;
    } else if last_run.is_in_doubt() {
        tracing::error!(
            "the machine stopped while the log was async: this node may have forgotten what it acknowledged, and keeps out of \
             elections until it holds what a leader has committed; if there can be no leader without it, accept the loss"
        );
    }
    Ok(last_run)
}

/// The vote gate that a node opens with.
fn gate_after(last_run: &LastRun) -> VoteGate {
    let gate = VoteGate::default();
    if last_run.is_in_doubt() {
        gate.close(GateReason::AsyncUnclean);
    }
    gate
}

fn check(options: &ReplicaOptions) -> Result<openraft::Config, OpenError> {
    let refuse = |reason: String| Err(OpenError::Options(reason));
    if options.entry_bytes_max == 0 || options.entry_bytes_max > ENTRY_BYTES_LIMIT {
        return refuse(format!("entry_bytes_max must be from 1 to {ENTRY_BYTES_LIMIT}"));
    }
    if options.propose_bytes_in_flight_max < options.entry_bytes_max {
        return refuse("propose_bytes_in_flight_max must hold one entry".to_owned());
    }
    if options.propose_bytes_in_flight_max > Semaphore::MAX_PERMITS.min(u32::MAX as usize) {
        return refuse("propose_bytes_in_flight_max must be below 4 GiB".to_owned());
    }
    if options.advertised.peer.is_empty() {
        return refuse("the advertised peer address is empty".to_owned());
    }
    settings::config(options.group, &options.election).map_err(OpenError::Options)
}

fn log_recovery(report: &RecoveryReport) {
    tracing::info!(
        records = report.records,
        segments = report.segments,
        torn_tail = ?report.torn_tail,
        truncation_finished = ?report.truncation_finished,
        hard_state_repaired = report.hard_state_repaired,
        "the log is recovered"
    );
}

fn storage_options(options: &ReplicaOptions) -> StorageOptions {
    StorageOptions {
        durability: options.durability,
        segment_bytes_max: options.segment_bytes_max,
        cache_bytes_max: options.cache_bytes_max,
        record_payload_bytes_max: options.entry_bytes_max.max(MEMBERSHIP_BYTES_MAX),
        ..StorageOptions::new(options.dir.clone(), options.group)
    }
}
