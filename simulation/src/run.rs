//! One seed, from empty disks to the last check.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use raft_log::GateReason;
use raft_log::env::sim::SeededRng;
use raft_log::sim::net::Network;
use raft_log::sim::observe::{Deed, Entry, take_events};
use raft_log::sim::{block_on, note, trace_hash};
use raft_log::types::{LogIndex, NodeId};

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::budgets::{Budgets, Calm};
use crate::checkers::{Checkers, ExactlyOnce, Violation};
use crate::clients::client;
use crate::cluster::Cluster;
use crate::faults::{Effects, Faults};
use crate::history::{History, Outcome};
use crate::hosts::host;
use crate::node::{Harm, Life, Node};
use crate::panics;
use crate::recovery::{Recoveries, Recovery};
use crate::settings::Settings;
use crate::story;
use crate::view::node_of;

/// Between two looks at the group, in simulated time.
const STEP: Duration = Duration::from_millis(5);
/// The group must be formed by then.
const FORMED_WITHIN: Duration = Duration::from_secs(20);
/// After the last fault, the group must serve and agree by then.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);
/// A settled group rests from then on, for so long.
const RESTS_FROM: Duration = Duration::from_millis(1_500);
/// So many of 100 groups lose all their connections then.
const RESETS_PERCENT: u64 = 50;
/// And of those, in so many of 100 the leader is further away than the others are from each other.
const FAR_LEADER_PERCENT: u64 = 60;
const RESTS_FOR: Duration = Duration::from_millis(2_100);

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Proposals.
    pub proposed: u64,
    /// Of those, acknowledged.
    pub acknowledged: u64,
    /// Surely not stored.
    pub refused: u64,
    /// Perhaps stored.
    pub unknown: u64,
    /// Read points given.
    pub reads: u64,
    /// Terms that had a leader.
    pub terms: u64,
    /// Faults that took effect.
    pub effects: Effects,
    /// What came of them.
    pub recoveries: Recoveries,
    /// Hash of everything that happened.
    pub trace: u64,
    /// Simulated time in milliseconds.
    pub millis: u64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it did, up to a violation.
    pub figures: Figures,
    /// The first broken promise.
    pub violation: Option<Violation>,
}

/// Runs a seed.
#[must_use]
pub fn run(seed: u64) -> Report {
    panics::catch();
    drop(panics::take());
    drop(take_events());
    let settings = Settings::of(seed);
    block_on(seed, async |network| {
        story::begin();
        Run::new(settings, network).whole().await
    })
}

struct Run {
    cluster: Cluster,
    checkers: Checkers,
    once: ExactlyOnce,
    history: History,
    rng: SeededRng,
    begin: Instant,
    recoveries: Recoveries,
}

type Step<T = ()> = Result<T, Violation>;

fn breach<T>(checker: &'static str, what: impl Into<String>) -> Step<T> {
    Err(Violation { checker, what: what.into() })
}

impl Run {
    fn new(settings: Settings, network: Network) -> Run {
        Run {
            checkers: Checkers::new(&settings),
            once: ExactlyOnce::default(),
            history: History::default(),
            rng: SeededRng::new(settings.seed ^ 0x0072_756e),
            begin: Instant::now(),
            recoveries: Recoveries::new(),
            cluster: Cluster::new(settings, network),
        }
    }

    async fn whole(mut self) -> Report {
        let stop = Arc::new(AtomicBool::new(false));
        let mut effects = Effects::new();
        let result = self.phases(&stop, &mut effects).await;
        stop.store(true, Ordering::Relaxed);
        let figures = self.figures(effects);
        for place in 0..self.cluster.nodes.len() {
            self.cluster.crash(place, raft_log::env::sim::Crash::KeepAll, Instant::now());
        }
        // Tasks of killed processes are dropped when their turn comes.
        tokio::time::sleep(STEP).await;
        drop(take_events());
        Report { figures, violation: result.err() }
    }

    async fn phases(&mut self, stop: &Arc<AtomicBool>, effects: &mut Effects) -> Step {
        self.form().await?;
        let clients: Vec<JoinHandle<()>> = (0..self.cluster.settings.clients)
            .map(|number| {
                let (settings, directory) = (self.cluster.settings.clone(), self.cluster.directory.clone());
                tokio::spawn(client(number, settings, directory, self.history.clone(), stop.clone()))
            })
            .collect();
        let faults = self.faults(effects).await;
        faults?;
        stop.store(true, Ordering::Relaxed);
        self.await_clients(clients).await?;
        self.settle().await?;
        self.rest().await?;
        self.compare()
    }

    /// Nothing happens, and nothing is done about it.
    async fn rest(&mut self) -> Step {
        if !self.cluster.is_sound() {
            return Ok(());
        }
        while self.cluster.nodes.iter().any(Node::is_disk_hung) {
            self.step().await?;
        }
        // What the last faults caused may still end: a hand-over, a repair.
        self.for_a_while(RESTS_FROM, None).await?;
        let calm = Calm::begin(&self.cluster, &self.checkers.view);
        if self.rng.chance(RESETS_PERCENT) {
            // Closed connections are no sign of death, nor is it that a leader needs a moment to make new ones.
            if let Some(leader) = self.cluster.leader().filter(|_| self.rng.chance(FAR_LEADER_PERCENT)) {
                self.cluster.set_far(leader);
            }
            self.cluster.network.reset_all();
        }
        self.for_a_while(RESTS_FOR, Some(calm)).await
    }

    async fn for_a_while(&mut self, longest: Duration, mut calm: Option<Calm>) -> Step {
        let until = Instant::now() + longest;
        while Instant::now() < until {
            self.step().await?;
            if let Some(Err(what)) = calm.as_mut().map(|calm| calm.look(&self.cluster, &self.checkers.view)) {
                return breach("budget", what);
            }
        }
        Ok(())
    }

    /// Starts all nodes and makes them a group.
    async fn form(&mut self) -> Step {
        let voters: Vec<(NodeId, String)> =
            self.cluster.nodes.iter().map(|node| (node.id, format!("{}:7000", host(node.place)))).collect();
        let deadline = Instant::now() + FORMED_WITHIN;
        let mut formed: Option<JoinHandle<bool>> = None;
        loop {
            self.step().await?;
            if Instant::now() > deadline {
                return breach("liveness", "the group was not formed");
            }
            if let Some(forming) = formed.take_if(|forming| forming.is_finished())
                && forming.await.unwrap_or(false)
            {
                return Ok(());
            }
            let all_open = self.cluster.nodes.iter().all(|node| self.cluster.replica(node.place).is_some());
            if formed.is_none() && all_open {
                let replica = self.cluster.replica(0).expect("all are open");
                let voters = voters.clone();
                let process = self.cluster.nodes[0].process.clone().expect("it is open");
                formed = Some(process.spawn(async move { replica.bootstrap(voters).await.is_ok() }));
            }
        }
    }

    async fn faults(&mut self, effects: &mut Effects) -> Step {
        let until = Instant::now() + self.cluster.settings.faults_last;
        let mut faults = Faults::new(&self.cluster);
        let mut budgets = Budgets::new();
        let mut result = Ok(());
        while result.is_ok() && (Instant::now() < until || faults.must_go_on()) {
            faults.step(&mut self.cluster, &self.checkers.view).await;
            result = self.step().await;
            if let (Ok(()), Err(what)) = (&result, budgets.look(&self.cluster, &self.checkers.view)) {
                result = breach("budget", what);
            }
        }
        *effects = faults.end(&mut self.cluster);
        result
    }

    async fn await_clients(&mut self, clients: Vec<JoinHandle<()>>) -> Step {
        let deadline = Instant::now() + SETTLED_WITHIN;
        while !clients.iter().all(JoinHandle::is_finished) {
            self.step().await?;
            if Instant::now() > deadline {
                return breach("liveness", "a client got no answer at all");
            }
        }
        Ok(())
    }

    /// After the last fault: a proposal is acknowledged and all nodes that are not lost apply it.
    async fn settle(&mut self) -> Step {
        let deadline = Instant::now() + SETTLED_WITHIN;
        let mut probe: Option<JoinHandle<Outcome>> = None;
        let (mut number, mut stored, mut was_settled) = (0, None, false);
        loop {
            self.step().await?;
            if let Some(ended) = probe.take_if(|probe| probe.is_finished()) {
                let outcome = ended.await.unwrap_or(Outcome::Unknown);
                self.history.end(number, outcome);
                if let Outcome::Acknowledged(id) = outcome {
                    stored = Some(id.index);
                }
            }
            // Twice, because a change of members may end in the step that checks what the probe was told.
            let is_settled = stored.is_some() && self.unsettled(stored).is_empty();
            if is_settled && was_settled {
                return Ok(());
            }
            was_settled = is_settled;
            if Instant::now() > deadline {
                let lives: Vec<&Life> = self.cluster.nodes.iter().map(|node| &node.life).collect();
                let unsettled = self.unsettled(stored).join("; ");
                return breach("liveness", format!("nothing settled: probe at {stored:?}; {unsettled}; {lives:?}"));
            }
            if stored.is_none()
                && probe.is_none()
                && let Some(replica) = self.cluster.leader().and_then(|leader| self.cluster.replica(leader))
            {
                let (begun, mut payload) = self.history.begin(32);
                number = begun;
                if self.cluster.settings.are_stamped() {
                    payload = self.history.stamp(begun, |floor| replica.stamp(floor));
                }
                probe = Some(tokio::spawn(async move {
                    match replica.propose(payload, 1).await {
                        Ok(proposed) => Outcome::Acknowledged(proposed.id),
                        Err(error) if error.surely_not_stored() => Outcome::Refused,
                        Err(_) => Outcome::Unknown,
                    }
                }));
            }
        }
    }

    /// The members that are to come back.
    fn expected(&self) -> Vec<&Node> {
        let newest = self.checkers.view.newest_membership();
        let member = |node: &&Node| newest.is_some_and(|newest| newest.nodes.contains_key(&node.id));
        self.cluster.nodes.iter().filter(member).filter(|node| node.is_expected()).collect()
    }

    /// What is still in the way of the end, for these entries.
    fn unsettled(&self, stored: Option<LogIndex>) -> Vec<String> {
        let mut reasons = Vec::new();
        let joint = self.checkers.view.newest_membership().is_none_or(|newest| newest.configs.len() > 1);
        if joint {
            reasons.push("a change of voters is half done".to_owned());
        }
        for node in self.expected() {
            let place = node.place;
            let Some(replica) = self.cluster.replica(place).filter(|_| !matches!(node.life, Life::Down(_))) else {
                reasons.push(format!("node {} is not open", node.id));
                continue;
            };
            let takes_itself_for_one = replica.status().gate.contains(&GateReason::OlderCopy);
            if takes_itself_for_one != (node.harm == Some(Harm::OlderCopy)) {
                reasons.push(format!("node {} is told to be an older copy: {takes_itself_for_one}", node.id));
            } else if node.machine.applied() < stored {
                reasons.push(format!("node {} has applied {:?}", node.id, node.machine.applied()));
            } else if node.harm == Some(Harm::Damaged)
                && !joint
                && let Err(violation) = self.readable(node)
            {
                // Reading is what finds the damage; it is repaired, or told.
                reasons.push(format!("{} ({:?})", violation.what, replica.status().health));
            }
        }
        reasons
    }

    /// All members that are not lost hold the same, and everything that was acknowledged.
    fn compare(&mut self) -> Step {
        let history = self.history.clone();
        for node in self.expected() {
            self.once.settled(node.place + 1, &node.machine.state().commands, &history)?;
            self.readable(node)?;
        }
        Ok(())
    }

    /// Whatever the state machine needs is there to be read, as it was committed.
    fn readable(&self, node: &Node) -> Step {
        let Some(replica) = self.cluster.replica(node.place) else {
            return breach("liveness", format!("node {} is not open", node.id));
        };
        let state = node.machine.state();
        let end = state.point.map_or(LogIndex(0), |point| point.id.index.next());
        let mut at = state.needed_from;
        while at < end {
            let read = replica.read(at, end, 64 << 10);
            let records = match read {
                Ok(records) if !records.is_empty() => records,
                other => return breach("readable", format!("node {}: entry {at} of {end}: {other:?}", node.id)),
            };
            for record in &records {
                let committed = self.checkers.view.committed.get(&record.id.index.0).map(|(entry, _)| *entry);
                if committed != Some(Entry::from(record)) || record.id.index != at {
                    return breach("readable", format!("node {}: {} is not {committed:?}", node.id, record.id));
                }
                at = at.next();
            }
        }
        Ok(())
    }

    /// Lets a little time pass, then looks at everything that happened.
    async fn step(&mut self) -> Step {
        tokio::time::sleep(STEP).await;
        if let Err(what) = self.cluster.tend(&self.rng) {
            return breach("no failure without a cause", what);
        }
        for host in std::mem::take(&mut self.cluster.wiped) {
            self.checkers.view.wipe(host);
        }
        for (host, knower) in std::mem::take(&mut self.cluster.put_back) {
            self.checkers.view.put_back(host, knower);
        }
        for event in take_events() {
            story::tell(|| format!("  node {} {:?}", node_of(event.node), event.deed));
            if event.deed == Deed::Gated(GateReason::Damaged, true) && self.cluster.is_blameless(event.node) {
                return breach("no failure without a cause", format!("node {} found damage", node_of(event.node)));
            }
            if let Some(recovery) = Recovery::of(&event) {
                *self.recoveries.entry(recovery).or_default() += 1;
            }
            self.checkers.take(&event)?;
            self.once.take(&event, &self.history)?;
        }
        let (news, breaches) = self.history.take_news();
        for (number, operation) in news {
            self.once.told(number, &operation)?;
        }
        if let Some(what) = breaches.into_iter().next() {
            return breach("client", what);
        }
        match panics::take() {
            Some(what) => breach("panic", what),
            None => Ok(()),
        }
    }

    fn figures(&self, effects: Effects) -> Figures {
        let mut recoveries = self.recoveries.clone();
        let refused = self.cluster.nodes.iter().filter(|node| matches!(node.life, Life::Lost(_))).count() as u64;
        let ended = self.checkers.view.changes_ended_by_others();
        recoveries
            .extend([(Recovery::Refused, refused), (Recovery::ChangeEnded, ended)].into_iter().filter(|(_, n)| *n > 0));
        let mut figures = Figures { effects, recoveries, reads: self.history.reads(), ..Figures::default() };
        for operation in self.history.operations() {
            figures.proposed += 1;
            match operation.outcome {
                Outcome::Acknowledged(_) => figures.acknowledged += 1,
                Outcome::Refused => figures.refused += 1,
                Outcome::Unknown | Outcome::Pending => figures.unknown += 1,
            }
        }
        let terms: std::collections::BTreeSet<_> =
            self.checkers.view.committed.values().map(|(entry, _)| entry.id.term).collect();
        figures.terms = terms.len() as u64;
        figures.millis = u64::try_from(self.begin.elapsed().as_millis()).expect("short");
        note(figures.acknowledged);
        figures.trace = trace_hash();
        figures
    }
}
