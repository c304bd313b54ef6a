//! The operator: takes fresh nodes into the group, gives and takes votes, replaces members, at whichever replica leads.
//!
//! ```text
//!   errand ─► a fresh node starts ─► it joins as a learner ─► one change of voters ─► who left is switched off
//!                 each call is made again until it is done, or the operator gives up; what he began may go on
//! ```
//! One errand at a time. Calls belong to the leader's process: they end with it, half done or not.

use std::collections::BTreeSet;
use std::time::Duration;

use raft_log::env::sim::SeededRng;
use raft_log::types::NodeId;
use raft_log::{ChangeError, Replica, Status};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::clients::place_of;
use crate::cluster::Cluster;
use crate::faults::Kind;
use crate::hosts::host;
use crate::node::Harm;
use crate::story::tell;

/// Voters of a group, at least and at most.
const VOTERS: std::ops::RangeInclusive<usize> = 1..=7;
/// Learners at a time.
const LEARNERS_MAX: usize = 2;
/// Fresh nodes of a run.
const SPARES_MAX: usize = 4;
/// An errand that is not done by then is given up.
const PATIENCE: Duration = Duration::from_secs(8);

type Call = JoinHandle<Result<(), ChangeError>>;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The fresh node joins as a learner.
    Join(usize),
    /// The change of voters, of this node, and with a swap this one leaves.
    Change(usize, Option<usize>),
}

struct Errand {
    kind: Kind,
    step: Step,
    then: Option<Step>,
    until: Instant,
    next: Instant,
    call: Option<Call>,
}

/// See the module.
pub struct Operator {
    rng: SeededRng,
    errand: Option<Errand>,
    /// The voters that the last change leads to, done or not.
    intended: Option<BTreeSet<NodeId>>,
    /// Who left, and when it is switched off.
    leaving: Vec<(Instant, usize)>,
    spares: usize,
}

impl Operator {
    /// An operator with nothing to do.
    #[must_use]
    pub fn new(seed: u64) -> Operator {
        let rng = SeededRng::new(seed ^ 0x6f70_6572);
        Operator { rng, errand: None, intended: None, leaving: Vec::new(), spares: 0 }
    }

    /// Voters that may come into force by what was begun last.
    pub fn intended(&self) -> impl Iterator<Item = &BTreeSet<NodeId>> {
        self.intended.iter()
    }

    /// Whether an errand is under way.
    pub fn is_busy(&self) -> bool {
        self.errand.is_some()
    }

    /// Begins an errand, if there is none and the group is fit for it.
    pub fn begin(&mut self, cluster: &mut Cluster, kind: Kind) {
        if self.errand.is_some() {
            return;
        }
        let Some(status) = cluster.leader().and_then(|leader| cluster.replica(leader)).map(|leader| leader.status())
        else {
            return;
        };
        let Some((step, then)) = self.plan(cluster, &status, kind) else { return };
        tell(|| format!("errand: {kind}, {step:?}, then {then:?}"));
        let now = Instant::now();
        self.errand = Some(Errand { kind, step, then, until: now + PATIENCE, next: now, call: None });
    }

    fn plan(&mut self, cluster: &mut Cluster, status: &Status, kind: Kind) -> Option<(Step, Option<Step>)> {
        let voters: BTreeSet<NodeId> = status.members.iter().filter(|member| member.voter).map(|m| m.id).collect();
        let learners: Vec<NodeId> = status.members.iter().filter(|member| !member.voter).map(|m| m.id).collect();
        let harmed = |id: &NodeId| cluster.nodes[place_of(*id)].harm.is_some() || cluster.nodes[place_of(*id)].is_out();
        let (lost, sound): (Vec<NodeId>, Vec<NodeId>) = voters.iter().partition(|id| harmed(id));
        let fit: Vec<NodeId> = learners.iter().copied().filter(|id| !harmed(id)).collect();
        let mut after = voters.clone();
        let plan = match kind {
            Kind::Learner if learners.len() < LEARNERS_MAX => (Step::Join(self.spare(cluster)?), None),
            Kind::Promote if voters.len() < *VOTERS.end() => {
                let learner = self.any(&fit)?;
                after.insert(learner);
                (Step::Change(place_of(learner), None), None)
            }
            Kind::Demote if voters.len() > *VOTERS.start() => {
                let voter = self.any(if lost.is_empty() { &sound } else { &lost })?;
                after.remove(&voter);
                (Step::Change(place_of(voter), None), None)
            }
            Kind::Remove => {
                let may = if voters.len() > *VOTERS.start() { &sound[..] } else { &[] };
                let leaver = self.any(&[&learners[..], may, if may.is_empty() { &[] } else { &lost[..] }].concat())?;
                after.remove(&leaver);
                (Step::Change(place_of(leaver), None), None)
            }
            Kind::Swap => {
                let old = self.any(if lost.is_empty() { &sound } else { &lost })?;
                let known = self.any(&fit).filter(|_| self.rng.chance(40)).map(place_of);
                let fresh = match known {
                    Some(known) => known,
                    None => self.spare(cluster)?,
                };
                after.remove(&old);
                after.insert(NodeId(fresh as u64 + 1));
                let change = Step::Change(fresh, Some(place_of(old)));
                if known.is_some() { (change, None) } else { (Step::Join(fresh), Some(change)) }
            }
            _ => return None,
        };
        let sound =
            |id: &&NodeId| cluster.nodes.get(place_of(**id)).is_none_or(|node| node.harm.is_none() && !node.is_out());
        if after.iter().filter(sound).count() * 2 <= after.len() {
            return None;
        }
        self.intended = Some(after);
        Some(plan)
    }

    fn any(&self, of: &[NodeId]) -> Option<NodeId> {
        let at = usize::try_from(self.rng.below((of.len() as u64).max(1))).expect("few");
        of.get(at).copied()
    }

    fn spare(&mut self, cluster: &mut Cluster) -> Option<usize> {
        if self.spares >= SPARES_MAX {
            return None;
        }
        self.spares += 1;
        Some(cluster.add_spare())
    }

    /// Goes on with the errand; says what was done.
    pub async fn step(&mut self, cluster: &mut Cluster) -> Option<Kind> {
        let now = Instant::now();
        for (_, place) in self.leaving.extract_if(.., |(at, _)| *at <= now) {
            cluster.retire(place);
        }
        let mut errand = self.errand.take()?;
        if let Some(call) = errand.call.take_if(|call| call.is_finished()) {
            let answer = call.await;
            tell(|| format!("errand: {:?} is answered {answer:?}", errand.step));
            match answer {
                Ok(Ok(())) => {
                    let Some(next) = errand.then.take() else {
                        self.left(&errand);
                        return Some(errand.kind);
                    };
                    errand.step = next;
                }
                Ok(Err(ChangeError::Leads(_))) => hand_over(cluster),
                _ => {}
            }
            errand.next = now + Duration::from_millis(30 + self.rng.below(200));
        }
        if now >= errand.until {
            return None;
        }
        if errand.call.is_none() && now >= errand.next {
            errand.call = call(cluster, errand.kind, errand.step);
        }
        self.errand = Some(errand);
        None
    }

    fn left(&mut self, errand: &Errand) {
        let leaver = match (errand.kind, errand.step) {
            (Kind::Remove, Step::Change(leaver, _)) => Some(leaver),
            (_, Step::Change(_, old)) => old,
            (_, Step::Join(_)) => None,
        };
        let at = Instant::now() + Duration::from_millis(self.rng.below(2_000));
        self.leaving.extend(leaver.map(|leaver| (at, leaver)));
    }

    /// Switches those off who left, and gives the errand up.
    pub fn end(&mut self, cluster: &mut Cluster) {
        self.errand = None;
        for (_, place) in std::mem::take(&mut self.leaving) {
            cluster.retire(place);
        }
    }
}

/// Asks the leader; nobody if there is none.
fn call(cluster: &Cluster, kind: Kind, step: Step) -> Option<Call> {
    let leader = cluster.leader()?;
    let replica = cluster.replica(leader)?;
    let process = cluster.nodes[leader].process.as_ref()?;
    if let Step::Join(place) = step
        && (cluster.replica(place).is_none() || cluster.nodes[place].harm == Some(Harm::Wiped))
    {
        return None;
    }
    Some(process.spawn(ask(replica, kind, step)))
}

async fn ask(replica: Replica, kind: Kind, step: Step) -> Result<(), ChangeError> {
    let id = |place: usize| NodeId(place as u64 + 1);
    match (step, kind) {
        (Step::Join(place), _) => replica.add_learner(id(place), format!("{}:7000", host(place))).await,
        (Step::Change(new, Some(old)), _) => replica.swap(id(old), id(new)).await,
        (Step::Change(place, None), Kind::Promote) => replica.promote(id(place)).await,
        (Step::Change(place, None), Kind::Demote) => replica.demote(id(place)).await,
        (Step::Change(place, None), _) => replica.remove(id(place)).await,
    }
}

fn hand_over(cluster: &Cluster) {
    let Some(leader) = cluster.leader() else { return };
    if let (Some(replica), Some(process)) = (cluster.replica(leader), &cluster.nodes[leader].process) {
        drop(process.spawn(async move { replica.transfer_leadership(None).await }));
    }
}
