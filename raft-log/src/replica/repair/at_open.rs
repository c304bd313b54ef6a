//! A log that is damaged when it is opened: repaired before anything else happens.
//!
//! The node serves its own good ranges meanwhile, so that nodes which were damaged together repair each other, and it
//! refuses everything else: it is in no election and acknowledges nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::env::Env;
use crate::exec;
use crate::identity::Identity;
use crate::last_run::LastRun;
use crate::membership::MemberNode;
use crate::openings::Openings;
use crate::raft::clocks::Clocks;
use crate::raft::network::net::{self, BoundListener};
use crate::raft::network::pasts::{OwnPast, Pasts};
use crate::raft::network::peers::Peers;
use crate::raft::network::ranges::{Fetched, fetch, serve_only};
use crate::raft::rooms::Rooms;
use crate::raft::sightings::Sightings;
use crate::raft::vote_gate::VoteGate;
use crate::replica::repair::members;
use crate::replica::{Health, OpenError, ReplicaOptions};
use crate::state_machine::AppliedPoint;
use crate::storage::repair::{Folder, Lost};
use crate::storage::{Log, OpenError as StorageOpenError, Record, RecoveryReport, Room, StorageOptions};
use crate::types::NodeId;

/// Pause before the peers are asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// While somebody could not be reached, the others are asked again for this long; then the node stops and says so.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often it is said that the repair still waits.
const REMIND: Duration = Duration::from_secs(10);
/// Answers of "not held" by everybody until they are believed: a peer may just be starting.
const ROUNDS_NOT_HELD: u32 = 3;

/// Opens the log, and repairs it first if it is damaged where the peers hold it.
pub(crate) async fn open_log(
    options: &ReplicaOptions,
    mut storage: StorageOptions,
    env: &Env,
    applied: Option<AppliedPoint>,
    mut listener: BoundListener,
) -> Result<(Log, RecoveryReport, BoundListener), OpenError> {
    let mut repaired = 0;
    loop {
        let damage = match in_blocking({
            let (env, storage) = (env.clone(), storage.clone());
            move || Ok(Log::open(env, storage))
        })
        .await?
        {
            Ok((log, report)) => {
                log.count_repaired(repaired);
                return Ok((log, report, listener));
            }
            Err(damage @ StorageOpenError::UnreadableTail { .. }) if !storage.cut_unreadable_tail => {
                tracing::error!(%damage, "it is cut, and this node keeps out of elections until it knows what it has forgotten");
                let (env, dir) = (env.clone(), options.dir.clone());
                in_blocking(move || Ok(LastRun::note_doubt(&env, &dir)?)).await?;
                storage.cut_unreadable_tail = true;
                continue;
            }
            Err(damage) => damage,
        };
        let Some(file) = file_of(&damage) else { return Err(damage.into()) };
        tracing::error!(%damage, "the log is damaged; it is repaired from the peers before this node takes part");
        let repair = Repair::begin(options, &storage, env, applied.clone(), damage).await?;
        let ranges;
        (listener, ranges) = repair.run(file, listener).await?;
        repaired += ranges;
    }
}

/// The segment that recovery stumbled over, if peers can help.
pub(super) fn file_of(damage: &StorageOpenError) -> Option<PathBuf> {
    match damage {
        StorageOpenError::Corrupt { file, .. } | StorageOpenError::WrongSalt { file, .. } => Some(file.clone()),
        _ => None,
    }
}

async fn in_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    exec::blocking(work).await.map_err(|error| OpenError::Raft(error.to_string()))?
}

/// One damaged log between two attempts to open it.
struct Repair {
    peers: Arc<Peers>,
    members: Vec<(NodeId, MemberNode)>,
    folder: Arc<Folder>,
    damage: StorageOpenError,
}

impl Drop for Repair {
    fn drop(&mut self) {
        // Connections end when their tasks are next run, and hold the folder until then.
        self.folder.release();
    }
}

impl Repair {
    async fn begin(
        options: &ReplicaOptions,
        storage: &StorageOptions,
        env: &Env,
        applied: Option<AppliedPoint>,
        damage: StorageOpenError,
    ) -> Result<Repair, OpenError> {
        let (node, group, dir) = (options.node_id, options.group, options.dir.clone());
        let clock = env.clock.clone();
        let (env, storage) = (env.clone(), storage.clone());
        let (folder, identity, members, own, sightings) = in_blocking(move || {
            let folder = Folder::open(&env, &storage)?;
            let identity = Identity::open(&env, &dir, node, group, false)?;
            let members = members::known(&env, &dir, applied.as_ref(), &identity);
            let openings = Arc::new(Openings::begin(&env, &dir)?);
            let own = OwnPast { openings, opened_end: None, may_forget: false };
            Ok((folder, identity, members, own, Arc::new(Sightings::open(&env, &dir)?)))
        })
        .await?;
        let (health, _) = watch::channel(Health::Healthy);
        // Nobody is published to through this node, whatever room it has.
        let (_, room) = watch::channel(Room::Low);
        let (rooms, clocks) = (Rooms::new(node, room), Clocks::new(node, clock));
        let pasts = Pasts::new(own, sightings, health.clone(), VoteGate::default(), node);
        let (advertised, secret) = (options.advertised.clone(), options.peer_secret.clone());
        let peers = Arc::new(Peers::new(Arc::new(identity), advertised, rooms, clocks, pasts, secret, health));
        Ok(Repair { peers, members, folder: Arc::new(folder), damage })
    }

    /// Repairs what is damaged in this segment, and serves others meanwhile; says how many ranges it was.
    async fn run(self, file: PathBuf, listener: BoundListener) -> Result<(BoundListener, u64), OpenError> {
        let broken_port = |error: std::io::Error| OpenError::Raft(format!("the peer port: {error}"));
        let listener = net::adopt(listener).map_err(broken_port)?;
        let stop = CancellationToken::new();
        let serving = serve_only(&listener, self.peers.clone(), self.folder.clone(), stop.clone());
        let repaired = tokio::select! {
            repaired = self.repair_all(file) => repaired,
            never = serving => match never {},
        };
        stop.cancel();
        let ranges = repaired?;
        Ok((net::release(listener).map_err(broken_port)?, ranges))
    }

    async fn repair_all(&self, file: PathBuf) -> Result<u64, OpenError> {
        let mut repaired = 0;
        loop {
            let folder = self.folder.clone();
            let (path, unreadable) = (file.clone(), file.clone());
            let lost = in_blocking(move || {
                let error = |source| StorageOpenError::Io { action: "reading", file: unreadable, source };
                Ok(folder.lost_in(&path).map_err(error)?.into_iter().next())
            })
            .await?;
            let Some(lost) = lost else {
                // Recovery said that something is damaged; a survey that finds nothing would go round for ever.
                let nothing = || self.not_repairable("nothing in it can be asked for");
                return if repaired > 0 { Ok(repaired) } else { Err(nothing()) };
            };
            let records = self.fetch(&lost).await?;
            let folder = self.folder.clone();
            let (lost_range, unwritable) = (lost.clone(), file.clone());
            in_blocking(move || {
                let error = |source| StorageOpenError::Io { action: "repairing", file: unwritable, source };
                Ok(folder.repair(&lost_range, &records).map_err(error)?)
            })
            .await?;
            repaired += 1;
            let (first, end) = (lost.hole.first, lost.hole.end);
            #[cfg(tercet_sim)]
            crate::sim::observe::observe(crate::sim::observe::Deed::Repaired(first, end));
            tracing::warn!(file = %file.display(), offset = lost.hole.offset, %first, %end, "a damaged range is repaired");
        }
    }

    /// Asks the peers until one of them has what was lost.
    async fn fetch(&self, lost: &Lost) -> Result<Vec<Record>, OpenError> {
        if lost.hole.anchor.is_none() && !lost.is_marks_only() {
            return Err(self.not_repairable("nothing good behind it says which history it belongs to"));
        }
        let (begin, mut reminded, mut not_held) = (Instant::now(), Instant::now(), 0);
        loop {
            let reason = match fetch(&self.peers, &self.members, lost).await {
                Fetched::Records(records) => return Ok(records),
                Fetched::NotHeld => {
                    not_held += 1;
                    if not_held >= ROUNDS_NOT_HELD {
                        return Err(self.not_repairable("no other member holds it"));
                    }
                    "no other member holds it".to_owned()
                }
                Fetched::Unreached(reason) => reason,
            };
            if begin.elapsed() >= PATIENCE {
                return Err(self.not_repairable(&format!("not within {PATIENCE:?}: {reason}")));
            }
            if reminded.elapsed() >= REMIND {
                reminded = Instant::now();
                tracing::warn!(%reason, "the damaged log still waits for a peer that holds what is lost");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn not_repairable(&self, reason: &str) -> OpenError {
        OpenError::NotRepairable {
            damage: self.damage.to_string(),
            reason: reason.to_owned(),
            node: self.peers.identity.node_id,
        }
    }
}
