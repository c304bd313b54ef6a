//! Opening a replica: whose folder, whose log, whose state, then the core.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, watch};

use crate::checkpoint::Checkpoints;
use crate::env::Env;
use crate::exec;
use crate::identity::Identity;
use crate::last_run::LastRun;
use crate::membership::MemberNode;
use crate::openings::Openings;
use crate::raft::clocks::Clocks;
use crate::raft::early_campaign::Evidence;
use crate::raft::gate_reason::GateReason;
use crate::raft::log_store::LogStore;
use crate::raft::network::net::BoundListener;
use crate::raft::network::pasts::{OwnPast, Pasts};
use crate::raft::network::peers::Peers;
use crate::raft::recover::fit_state_to_log;
use crate::raft::retention::TrimWays;
use crate::raft::rooms::Rooms;
use crate::raft::settings;
use crate::raft::sightings::Sightings;
use crate::raft::state_adapter::StateAdapter;
use crate::raft::state_worker::{LogProgress, StateWorker};
use crate::raft::vote_gate::VoteGate;
use crate::raft::wire::ENTRY_BYTES_LIMIT;
use crate::replica::OpenError;
use crate::replica::inner::{Inner, Threads};
use crate::replica::leadership::Leadership;
use crate::replica::options::{PeerListen, ReplicaOptions};
use crate::replica::propose::PROPOSAL_OVERHEAD_BYTES;
use crate::replica::repair::{at_open, members};
use crate::replica::stamps::Stamps;
use crate::replica::status::Health;
use crate::replica::status_task::StatusTask;
use crate::replica::thread::{self, CoreParts, Keeping};
use crate::state_machine::{AppliedPoint, StateMachine};
use crate::storage::{Durability, Log, RecoveryReport, StorageOptions};
use crate::types::NodeId;

/// Room for a membership entry, however small the entries of the user are.
const MEMBERSHIP_BYTES_MAX: usize = if cfg!(tercet_sim) { 4 << 10 } else { 64 << 10 };

pub(crate) async fn open(
    mut options: ReplicaOptions,
    env: Env,
    machine: Box<dyn StateMachine>,
) -> Result<Inner, OpenError> {
    let config = check(&options)?;
    let listener = take_listener(&mut options)?;
    let (log, listener) = open_log(&options, &env, machine.applied(), listener).await?;
    let Folder { identity, machine, checkpoints, last_run, members, past, sightings } =
        open_folder(&options, &env, log.clone(), machine).await?;

    let ways = ways_of(machine.as_ref(), &options)?;
    let progress = LogProgress { durable: log.durable(), failure: log.failure(), scarce: log.scarce() };
    let (worker, apply_joiner) =
        StateWorker::start(options.node_id, machine, progress).map_err(|error| OpenError::Raft(error.to_string()))?;
    let ((health, _), (age_pause, age_paused)) = (watch::channel(Health::Healthy), watch::channel(None));
    let (gate, evidence) = (gate_after(&last_run), Evidence::default());
    // It may close the gate.
    let peers = peers_of(&options, identity.clone(), &log, &env, (past, sightings), &gate, health.clone());
    let status = watch::Sender::new(StatusTask::initial(&identity, &log, &gate));
    let standing = watch::Sender::new(status.borrow().clone());
    let parts = CoreParts {
        node_id: options.node_id,
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
        retention: Keeping { options: options.retention, ways, age_pause },
        members,
        status: StatusTask {
            identity: identity.clone(),
            log: log.clone(),
            applied: worker.applied().clone(),
            apply_failure: worker.failure(),
            peers: peers.clone(),
            age_pause: age_paused,
            leader_watch: evidence.watch.clone(),
            gate: gate.clone(),
            leader_silence_max: options.election.timeout_max,
            health,
            status: status.clone(),
            standing: standing.clone(),
        },
        scrub_bytes_per_second: options.scrub_bytes_per_second,
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
        stamps: Stamps::new(env.clock.clone()),
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

/// What the state machine can do for retention, if that is enough for what is wanted of it.
fn ways_of(machine: &dyn StateMachine, options: &ReplicaOptions) -> Result<TrimWays, OpenError> {
    let ways = TrimWays::of(machine);
    if options.retention.age_max.is_some() && ways.stamp_of.is_none() {
        let reason = "retention.age_max needs a state machine that reads stamps from its commands";
        return Err(OpenError::Options(reason.to_owned()));
    }
    Ok(ways)
}

fn peers_of(
    options: &ReplicaOptions,
    identity: Arc<Identity>,
    log: &Log,
    env: &Env,
    (past, sightings): (OwnPast, Arc<Sightings>),
    gate: &VoteGate,
    health: watch::Sender<Health>,
) -> Arc<Peers> {
    let node = options.node_id;
    let pasts = Pasts::new(past, sightings, health.clone(), gate.clone(), node);
    let (rooms, clocks) = (Rooms::new(node, log.room()), Clocks::new(node, env.clock.clone()));
    let (advertised, secret) = (options.advertised.clone(), options.peer_secret.clone());
    Arc::new(Peers::new(identity, advertised, rooms, clocks, pasts, secret, health))
}

fn take_listener(options: &mut ReplicaOptions) -> Result<BoundListener, OpenError> {
    match std::mem::replace(&mut options.peer_listen, PeerListen::Taken) {
        PeerListen::Address(address) => thread::bind(address),
        PeerListen::Bound(listener) => thread::taken_over(listener),
        PeerListen::Taken => Err(OpenError::Options("the peer port was taken by an earlier opening".to_owned())),
    }
}

/// Recovers the log of a folder that is this node's, with the help of the peers where it is damaged.
async fn open_log(
    options: &ReplicaOptions,
    env: &Env,
    applied: Option<AppliedPoint>,
    listener: BoundListener,
) -> Result<(Log, BoundListener), OpenError> {
    Identity::check(env, &options.dir, options.node_id, options.group)?;
    let storage = storage_options(options);
    let (log, report, listener) = at_open::open_log(options, storage, env, applied, listener).await?;
    log_recovery(&report);
    Ok((log, listener))
}

/// What lies in a data folder beside its log, fitted to it.
struct Folder {
    identity: Arc<Identity>,
    machine: Box<dyn StateMachine>,
    checkpoints: Arc<Checkpoints>,
    last_run: Arc<LastRun>,
    /// Who may hold this node's entries.
    members: Vec<(NodeId, MemberNode)>,
    past: OwnPast,
    sightings: Arc<Sightings>,
}

/// Says whose folder it is, and fits the state to the log.
async fn open_folder(
    options: &ReplicaOptions,
    env: &Env,
    log: Log,
    mut machine: Box<dyn StateMachine>,
) -> Result<Folder, OpenError> {
    let (node_id, group, dir, env) = (options.node_id, options.group, options.dir.clone(), env.clone());
    let (durability, accept_async_loss) = (options.durability, options.accept_async_loss);
    let has_secret = options.peer_secret.is_some();
    exec::blocking(move || {
        let bounds = log.bounds();
        let empty = bounds.last.is_none() && bounds.purged.is_none() && log.hard_state().is_none();
        let identity = Identity::open(&env, &dir, node_id, group, empty)?;
        if !empty {
            // A crash came between the first vote or entry and the note of it.
            identity
                .mark_used()
                .map_err(|error| OpenError::Raft(format!("noting that the folder is used: {error}")))?;
        }
        if !has_secret && identity.claim().is_some_and(|claim| claim.secret.is_none()) {
            let reason = "this folder's cluster has its peer secret from a file (or was formed before there were any), and no \
                secret is given: name the same file on all nodes";
            return Err(OpenError::Options(reason.to_owned()));
        }
        let members = members::known(&env, &dir, machine.applied().as_ref(), &identity);
        let (last_run, may_forget) = begin_run(&env, &dir, durability, accept_async_loss)?;
        #[cfg(tercet_sim)]
        crate::sim::observe::observe_opened(&bounds, log.hard_state(), may_forget, |from, until| {
            log.read(from, until, usize::MAX).ok()
        });
        let end = bounds.last.max(bounds.purged).map_or(0, |last| last.index.next().0);
        let openings = Arc::new(Openings::begin(&env, &dir)?);
        let past = OwnPast { openings, opened_end: Some(end), may_forget };
        let sightings = Arc::new(Sightings::open(&env, &dir)?);
        let checkpoints = Checkpoints::open(&env, &dir, group)?;
        fit_state_to_log(&env, machine.as_mut(), &checkpoints, &log)?;
        let (identity, checkpoints, last_run) = (Arc::new(identity), Arc::new(checkpoints), Arc::new(last_run));
        Ok(Folder { identity, machine, checkpoints, last_run, members, past, sightings })
    })
    .await
    .map_err(|error| OpenError::Raft(error.to_string()))?
}

/// Judges how the last run ended, and whether it may have forgotten something, accepted or not (hazards 10).
fn begin_run(
    env: &Env,
    dir: &Path,
    durability: Durability,
    accept_async_loss: bool,
) -> Result<(LastRun, bool), OpenError> {
    let last_run = LastRun::begin(env, dir, durability)?;
    let may_forget = last_run.is_in_doubt();
    if last_run.is_in_doubt() && accept_async_loss {
        tracing::warn!("the machine stopped while the log was async; what may be forgotten is accepted as lost");
        last_run.trust().map_err(|error| OpenError::Raft(error.to_string()))?;
    } else if last_run.is_in_doubt() {
        tracing::error!(
            "the machine stopped while the log was async, or the end of the log could not be read: this node may have forgotten what it acknowledged, and keeps out of \
             elections until it holds what a leader has committed; if there can be no leader without it, accept the loss"
        );
    }
    Ok((last_run, may_forget))
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
    let proposals_max = (options.propose_bytes_in_flight_max / PROPOSAL_OVERHEAD_BYTES) as u64;
    settings::config(options.group, &options.election, proposals_max).map_err(OpenError::Options)
}

fn log_recovery(report: &RecoveryReport) {
    tracing::info!(
        records = report.records,
        segments = report.segments,
        torn_tail = ?report.torn_tail,
        truncation_finished = ?report.truncation_finished,
        hard_state_repaired = report.hard_state_repaired,
        mended = ?report.mended,
        "the log is recovered"
    );
}

fn storage_options(options: &ReplicaOptions) -> StorageOptions {
    StorageOptions {
        durability: options.durability,
        segment_bytes_max: options.segment_bytes_max,
        sizes: options.sizes,
        cache_bytes_max: options.cache_bytes_max,
        disk_high_water_percent: options.retention.disk_high_water_percent,
        record_payload_bytes_max: options.entry_bytes_max.max(MEMBERSHIP_BYTES_MAX),
        ..StorageOptions::new(options.dir.clone(), options.group)
    }
}
