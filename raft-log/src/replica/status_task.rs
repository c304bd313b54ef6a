//! Turns openraft's metrics, the log's durable mark and its failures into [`Status`].

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::metrics::RaftMetrics;
use openraft::{Instant as _, ServerState};
use tokio::sync::watch;

use crate::identity::Identity;
use crate::raft::core::RaftCore;
use crate::raft::network::leader_watch::LeaderWatch;
use crate::raft::network::peers::Peers;
use crate::raft::retention::AgePause;
use crate::raft::state_worker::AppliedIndex;
use crate::raft::type_config::{TypeConfig, log_id};
use crate::raft::vote_gate::VoteGate;
use crate::replica::leadership::Leadership;
use crate::replica::options::ElectionOptions;
use crate::replica::status::{Health, Member, Role, Status};
use crate::state_machine::ApplyError;
use crate::storage::Log;
use crate::types::{NodeId, Term};

/// Under load the metrics change with every batch; the status follows at this pace. A first change shows at once.
const UPDATE_INTERVAL: Duration = Duration::from_millis(5);

/// Keeps the status current until the core stops.
pub(crate) struct StatusTask {
    pub(crate) identity: Arc<Identity>,
    pub(crate) log: Log,
    pub(crate) applied: AppliedIndex,
    pub(crate) apply_failure: watch::Receiver<Option<ApplyError>>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) age_pause: watch::Receiver<Option<AgePause>>,
    pub(crate) leader_watch: LeaderWatch,
    pub(crate) gate: VoteGate,
    /// A leader that is silent for longer is not shown.
    pub(crate) leader_silence_max: Duration,
    pub(crate) health: watch::Sender<Health>,
    pub(crate) status: watch::Sender<Status>,
    /// Follows `status` where more than positions change.
    pub(crate) standing: watch::Sender<Status>,
}

impl StatusTask {
    /// The status before the core runs.
    pub(crate) fn initial(identity: &Identity, log: &Log, gate: &VoteGate) -> Status {
        Status {
            cluster: identity.cluster(),
            last: log.bounds().last,
            purged: log.bounds().purged,
            durable: *log.durable().borrow(),
            gate: gate.reasons(),
            room: *log.room().borrow(),
            ..Status::unformed(identity.node_id)
        }
    }

    /// What a transfer needs of this node.
    pub(crate) fn leadership(&self, raft: RaftCore, election: ElectionOptions) -> Leadership {
        Leadership { raft, status: self.status.clone(), standing: self.standing.clone(), election }
    }

    pub(crate) async fn run(self, raft: RaftCore) {
        let mut metrics = raft.metrics();
        let mut durable = self.log.durable();
        let mut failure = self.log.failure();
        let (mut applied, mut apply_failure) = (self.applied.watch(), self.apply_failure.clone());
        let mut health = self.health.subscribe();
        let mut gate = self.gate.watch();
        let mut lost = self.leader_watch.watch_lost();
        let mut log_lives = true;
        loop {
            self.publish(&metrics.borrow_watched(), &health.borrow());
            tokio::time::sleep(UPDATE_INTERVAL).await;
            let stop = tokio::select! {
                changed = metrics.changed() => changed.is_err(),
                changed = applied.changed() => changed.is_err(),
                error = async { apply_failure.wait_for(Option::is_some).await.ok()?.clone() } => {
                    // Without a word it ends by a panic, or after the core.
                    let reason = error.map_or_else(|| "nothing is applied any more".to_owned(), |error| error.to_string());
                    let lives = metrics.borrow_watched().running_state.is_ok();
                    self.fail(lives.then_some(reason));
                    true
                }
                changed = health.changed() => changed.is_err(),
                changed = gate.changed() => changed.is_err(),
                changed = lost.changed() => changed.is_err(),
                () = tokio::time::sleep(self.leader_silence_max) => false,
                changed = durable.changed(), if log_lives => { log_lives &= changed.is_ok(); false }
                failed = failure.wait_for(Option::is_some), if log_lives => match failed {
                    Ok(error) => Some(error.clone()),
                    Err(_) => None,
                }
                .is_some_and(|error| { self.fail(error.map(|error| error.to_string())); true }),
            };
            let fatal = metrics.borrow_watched().running_state.clone();
            match fatal {
                Ok(()) if !stop => {}
                Ok(()) => break,
                Err(openraft::error::Fatal::Stopped) => break,
                Err(fatal) => {
                    self.fail(Some(fatal.to_string()));
                    break;
                }
            }
        }
        // A failed node must neither lead nor vote: it stops here, whatever stopped it.
        drop(raft.shutdown().await);
        self.publish(&metrics.borrow_watched(), &health.borrow());
    }

    fn fail(&self, reason: Option<String>) {
        let Some(reason) = reason else { return };
        self.health.send_if_modified(|health| {
            let news = !matches!(health, Health::Failed { .. });
            if news {
                tracing::error!(node = %self.identity.node_id, %reason, "the replica stops; restart the process once the cause is gone");
                *health = Health::Failed { reason };
            }
            news
        });
    }

    fn publish(&self, metrics: &RaftMetrics<TypeConfig>, health: &Health) {
        let status = self.status_of(metrics, health);
        self.standing.send_if_modified(|current| {
            let news = !current.same_standing(&status);
            if news {
                *current = status.clone();
            }
            news
        });
        self.status.send_if_modified(|current| {
            let news = *current != status;
            if news {
                *current = status;
            }
            news
        });
    }

    /// openraft names the leader of the last vote, also when it has long been silent and no majority elects another.
    fn leader(&self, metrics: &RaftMetrics<TypeConfig>) -> Option<NodeId> {
        let leader = metrics.current_leader?;
        let known = leader == self.identity.node_id || self.leader_watch.hears(leader, self.leader_silence_max);
        known.then_some(leader)
    }

    /// Whether a majority answered within the lease, as openraft asks before it takes a proposal.
    fn hears_quorum(&self, metrics: &RaftMetrics<TypeConfig>) -> bool {
        let own = self.identity.node_id;
        metrics.membership_config.membership().voter_ids().all(|voter| voter == own)
            || metrics.last_quorum_acked.as_ref().is_some_and(|acked| acked.elapsed() < self.leader_silence_max)
    }

    /// How far each voter's clock is off.
    fn tell_clocks(&self, members: &mut [Member]) {
        let voters = members.iter().filter(|member| member.voter).map(|member| member.id).collect();
        let errors = self.peers.clocks.read(&voters).errors();
        for member in members {
            member.clock_error_ms = errors.get(&member.id).copied();
        }
    }

    fn status_of(&self, metrics: &RaftMetrics<TypeConfig>, health: &Health) -> Status {
        let term = Term(metrics.current_term);
        let applied = self.applied.id();
        let mut members = members(metrics, self.identity.node_id);
        let role = role(metrics, health, members.is_empty());
        if role == Role::Leader {
            self.tell_clocks(&mut members);
        }
        Status {
            node_id: self.identity.node_id,
            cluster: self.identity.cluster(),
            role,
            term,
            leader: self.leader(metrics).filter(|_| role != Role::Stopped),
            last: self.log.bounds().last,
            committed: metrics.local_committed.map(log_id),
            applied,
            purged: self.log.bounds().purged,
            checkpoint: metrics.snapshot.map(log_id),
            durable: *self.log.durable().borrow(),
            members,
            // A leader's first entry of its term is its own; once that is applied, so is everything before.
            serving: role == Role::Leader
                && self.gate.may_lead()
                && self.hears_quorum(metrics)
                && applied.is_some_and(|applied| applied.term == term),
            gate: self.gate.reasons(),
            room: *self.log.room().borrow(),
            age_pause: *self.age_pause.borrow(),
            health: health.clone(),
        }
    }
}

fn role(metrics: &RaftMetrics<TypeConfig>, health: &Health, no_members: bool) -> Role {
    if metrics.running_state.is_err() || matches!(health, Health::Failed { .. }) {
        return Role::Stopped;
    }
    match metrics.state {
        ServerState::Learner if no_members => Role::Unformed,
        ServerState::Learner => Role::Learner,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Leader => Role::Leader,
        ServerState::Shutdown => Role::Stopped,
    }
}

fn members(metrics: &RaftMetrics<TypeConfig>, own: NodeId) -> Vec<Member> {
    let membership = metrics.membership_config.membership();
    let voters: std::collections::BTreeSet<NodeId> = membership.voter_ids().collect();
    let member = |(id, node): (&NodeId, &crate::membership::MemberNode)| {
        let matched = metrics.replication.as_ref().and_then(|matched| matched.get(id).copied().flatten());
        let heard = metrics.heartbeat.as_ref().and_then(|heard| heard.get(id).copied().flatten());
        Member {
            matched: matched.map(|matched| log_id(matched).index),
            last_heard: if *id == own { None } else { heard.map(|at| at.elapsed()) },
            ..Member::new(*id, node.addresses.clone(), voters.contains(id))
        }
    };
    membership.nodes().map(member).collect()
}
