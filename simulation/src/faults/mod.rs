//! The schedule of faults, as the seed decides it, and the count of those that took effect.

mod disk;
mod kind;
mod leaders_in_turn;
mod left_behind;
mod mends;
mod network;
mod older_copy;
mod overwritten_tail;
mod relapse;
mod stranger;

use std::collections::BTreeMap;
use std::time::Duration;

use raft_log::Durability;
use raft_log::env::Rng as _;
use raft_log::env::sim::{Crash, SeededRng};
use raft_log::sim::note;
use tokio::time::Instant;

use crate::cluster::{Cluster, host, soon};
use crate::node::Life;
use crate::operator::Operator;
use crate::story::{tell, tell_of};
use crate::view::View;
use leaders_in_turn::LeadersInTurn;
use left_behind::LeftBehind;
use mends::{Mend, Mends};
use older_copy::OlderCopy;
use overwritten_tail::OverwrittenTail;
use relapse::Relapse;

pub use kind::Kind;

/// How often faults of each kind took effect.
pub type Effects = BTreeMap<Kind, u64>;

/// So many of 100 faults are the scripted one, in runs that have one.
const SCRIPTED_PERCENT: u64 = 40;

/// A fault of several steps that is under way.
enum Script {
    LeadersInTurn(LeadersInTurn),
    LeftBehind(LeftBehind),
    OlderCopy(OlderCopy),
    OverwrittenTail(OverwrittenTail),
}

/// The faults of one run.
pub struct Faults {
    rng: SeededRng,
    kinds: Vec<Kind>,
    scripted: Option<Kind>,
    next: Instant,
    mends: Mends,
    effects: Effects,
    /// Ordered faults whose effect is seen on the disk later: what to count, where, and the count before.
    ordered: Vec<(Kind, usize, u64)>,
    relapses: Vec<Relapse>,
    cut: Option<Kind>,
    held: u64,
    goes_on_until: Option<Instant>,
    wiped: bool,
    operator: Operator,
    script: Option<Script>,
}

impl Faults {
    /// Faults as the settings say; the first comes a little after the start.
    #[must_use]
    pub fn new(cluster: &Cluster) -> Faults {
        let settings = &cluster.settings;
        Faults {
            rng: SeededRng::new(settings.seed ^ 0x6661_756c_7473),
            kinds: settings.kinds.iter().copied().collect(),
            scripted: settings.scripted,
            next: Instant::now() + settings.fault_pause_max,
            mends: Mends::default(),
            effects: Effects::new(),
            ordered: Vec::new(),
            relapses: Vec::new(),
            cut: None,
            held: 0,
            goes_on_until: None,
            wiped: false,
            operator: Operator::new(settings.seed),
            script: None,
        }
    }

    /// Whether something is under way that proves nothing until it is over.
    #[must_use]
    pub fn must_go_on(&self) -> bool {
        self.goes_on_until.is_some_and(|until| Instant::now() < until)
    }

    fn count(&mut self, kind: Kind) {
        *self.effects.entry(kind).or_default() += 1;
        note(kind as u64);
    }

    fn below(&self, limit: usize) -> usize {
        usize::try_from(self.rng.below(limit as u64)).expect("it is below a usize")
    }

    fn millis(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.rng.below(most - least + 1))
    }

    /// Mends what is due, goes on with what takes several steps, and makes the next fault if its time has come.
    pub async fn step(&mut self, cluster: &mut Cluster, view: &View) {
        let now = Instant::now();
        for mend in self.mends.due(now) {
            self.mend(cluster, &mend);
        }
        self.look(cluster);
        self.relapse(cluster);
        if let Some(done) = self.operator.step(cluster).await {
            self.count(done);
        }
        if self.go_on(cluster, view) || now < self.next {
            return;
        }
        let pause = u64::try_from(cluster.settings.fault_pause_max.as_millis()).expect("short");
        self.next = now + self.millis(10, pause.max(20));
        let kind = match self.scripted {
            Some(scripted) if self.rng.chance(SCRIPTED_PERCENT) => scripted,
            _ => self.kinds[self.below(self.kinds.len())],
        };
        self.make(cluster, view, kind);
    }

    /// Goes on with the script; `false` if there is none. Nothing else happens meanwhile.
    fn go_on(&mut self, cluster: &mut Cluster, view: &View) -> bool {
        let Some(mut script) = self.script.take() else { return false };
        let goes_on = match &mut script {
            Script::LeadersInTurn(script) => script.step(self, cluster, view),
            Script::LeftBehind(script) => script.step(self, cluster, view),
            Script::OlderCopy(script) => script.step(self, cluster),
            Script::OverwrittenTail(script) => script.step(self, cluster, view),
        };
        if goes_on {
            self.script = Some(script);
            return true;
        }
        self.end_script(cluster, script);
        false
    }

    fn end_script(&mut self, cluster: &mut Cluster, script: Script) {
        tell(|| "script: over".to_owned());
        match script {
            Script::LeadersInTurn(script) => script.end(self, cluster),
            Script::LeftBehind(mut script) => script.end(self, cluster),
            Script::OlderCopy(_) => {}
            Script::OverwrittenTail(script) => script.end(self, cluster),
        }
        self.next = Instant::now() + cluster.settings.fault_pause_max;
    }

    /// Counts what ordered faults and cut links did meanwhile.
    fn look(&mut self, cluster: &Cluster) {
        let ordered = std::mem::take(&mut self.ordered);
        for (kind, place, before) in ordered {
            if disk::struck(cluster, kind, place) > before {
                self.count(kind);
                if kind == Kind::SyncError {
                    self.sync_failed(cluster, place);
                }
            } else {
                self.ordered.push((kind, place, before));
            }
        }
        if let Some(kind) = self.cut
            && cluster.network.counts().held > self.held
        {
            self.cut = None;
            self.count(kind);
        }
    }

    fn mend(&mut self, cluster: &mut Cluster, mend: &Mend) {
        match *mend {
            Mend::Link(from, to) => cluster.network.set_cut(host(from), host(to), false),
            Mend::Latency(from, to) => cluster.network.set_latency_millis(host(from), host(to), None),
            Mend::Disk(place) => cluster.nodes[place].quicken_disk(),
            Mend::Capacity(place) => {
                self.look(cluster);
                self.ordered.retain(|(kind, at, _)| (*kind, *at) != (Kind::DiskFull, place));
                cluster.nodes[place].disk.set_capacity_bytes(None);
                cluster.nodes[place].full = false;
            }
        }
    }

    /// Mends everything, so that the group can recover; says what took effect.
    #[must_use]
    pub fn end(mut self, cluster: &mut Cluster) -> Effects {
        self.look(cluster);
        if let Some(script) = self.script.take() {
            self.end_script(cluster, script);
        }
        for mend in self.mends.all() {
            self.mend(cluster, &mend);
        }
        self.operator.end(cluster);
        for node in &mut cluster.nodes {
            node.disk.clear_faults();
            if node.paused_until.take().is_some()
                && let Some(process) = &node.process
            {
                process.set_paused(false);
            }
        }
        self.effects
    }

    /// The leader more often than the others in most runs, in some hardly ever.
    fn victim(&self, cluster: &Cluster) -> Option<usize> {
        let mut running = cluster.running();
        let percent = cluster.settings.leader_percent;
        match cluster.leader() {
            Some(leader) if self.rng.chance(percent) => Some(leader),
            Some(leader) if percent < 50 && running.len() > 1 => {
                running.retain(|place| *place != leader);
                Some(running[self.below(running.len())])
            }
            _ if running.is_empty() => None,
            _ => Some(running[self.below(running.len())]),
        }
    }

    fn make(&mut self, cluster: &mut Cluster, view: &View, kind: Kind) {
        tell(|| format!("fault: {kind}, leader {:?}", cluster.leader().map(|place| place + 1)));
        match kind {
            Kind::Blackout | Kind::KillAll => self.stop_all(cluster, kind),
            Kind::CutLeader | Kind::CutFollower | Kind::CutOneWay | Kind::CutPair | Kind::Split => {
                self.cut(cluster, kind);
            }
            Kind::Bridge => self.bridge(cluster, view),
            Kind::Delay | Kind::Reset => self.trouble_links(cluster, kind),
            Kind::FarApart => self.far_apart(cluster),
            Kind::ResetAll => {
                if cluster.network.reset_all() > 0 {
                    self.count(kind);
                }
            }
            Kind::LeadersInTurn => self.script = LeadersInTurn::begin(self, cluster).map(Script::LeadersInTurn),
            Kind::LeftBehind => self.script = LeftBehind::begin(self, cluster).map(Script::LeftBehind),
            Kind::OverwrittenTail => {
                self.script = OverwrittenTail::begin(self, cluster, view).map(Script::OverwrittenTail);
            }
            Kind::OlderCopy => self.script = OlderCopy::begin(self, cluster, view).map(Script::OlderCopy),
            _ if kind.changes_members() => self.operator.begin(cluster, kind),
            _ => {
                if let Some(place) = self.victim(cluster) {
                    self.hit(cluster, view, kind, place);
                }
            }
        }
    }

    fn stop_all(&mut self, cluster: &mut Cluster, kind: Kind) {
        for place in cluster.running() {
            let crash = match kind {
                Kind::KillAll => Crash::KeepAll,
                _ if self.rng.chance(50) => Crash::LoseUnsynced,
                _ => Crash::Torn { seed: self.rng.next_u64() },
            };
            cluster.crash(place, crash, Instant::now() + soon(&self.rng));
        }
        self.count(kind);
    }

    fn hit(&mut self, cluster: &mut Cluster, view: &View, kind: Kind, place: usize) {
        tell_of(place, kind);
        let restart = Instant::now() + soon(&self.rng);
        match kind {
            Kind::Kill => cluster.crash(place, Crash::KeepAll, restart),
            Kind::PowerLoss => {
                if cluster.settings.durability == Durability::Async && !self.others_remember(cluster, view, place) {
                    return;
                }
                cluster.crash(place, Crash::LoseUnsynced, restart);
            }
            Kind::TornWrite => {
                if cluster.nodes[place].disk.unsynced_files() == 0 {
                    return;
                }
                cluster.crash(place, Crash::Torn { seed: self.rng.next_u64() }, restart);
            }
            Kind::MidWrite => cluster.nodes[place].disk.power_off_after(self.rng.below(12)),
            Kind::Restart => {
                if !end_orderly(cluster, place) {
                    return;
                }
            }
            Kind::SyncError | Kind::WriteError | Kind::ReadError => return self.break_disk(cluster, kind, place),
            Kind::DiskFull => return self.fill(cluster, place),
            Kind::BitFlip | Kind::BadSector => return self.damage(cluster, view, kind, place),
            Kind::Wipe => return self.wipe(cluster, view, place),
            Kind::SlowDisk => return self.slow_disk(cluster, place),
            Kind::HungSync => return self.hang_disk(cluster, place),
            Kind::Stranger => self.stranger(cluster, place),
            Kind::ClockDrift => {
                let drift = i64::try_from(self.rng.below(41)).expect("few") - 20;
                cluster.nodes[place].clock.set_drift_percent(drift);
            }
            Kind::PauseShort => self.pause(cluster, place, 20, 300),
            Kind::PauseLong => self.pause(cluster, place, 800, 4_000),
            Kind::ClockJump => {
                let skew = i64::try_from(self.rng.below(7_200_000)).expect("hours") - 3_600_000;
                cluster.nodes[place].clock.set_skew_millis(skew);
            }
            Kind::Transfer => {
                if !hand_over(cluster) {
                    return;
                }
            }
            _ => unreachable!("{kind} does not hit one node"),
        }
        self.count(kind);
    }

    fn pause(&self, cluster: &mut Cluster, place: usize, least: u64, most: u64) {
        let until = Instant::now() + self.millis(least, most);
        let node = &mut cluster.nodes[place];
        if let Some(process) = &node.process {
            process.set_paused(true);
            node.paused_until = Some(until);
        }
    }
}

/// Whoever leads hands its leadership over; `false` if nobody does.
fn hand_over(cluster: &Cluster) -> bool {
    let Some(replica) = cluster.leader().and_then(|leader| cluster.replica(leader)) else { return false };
    drop(tokio::spawn(async move { replica.transfer_leadership(None).await }));
    true
}

/// It has time to hand over; then the process is gone. Its end is that of a kill.
fn end_orderly(cluster: &mut Cluster, place: usize) -> bool {
    let Some(replica) = cluster.replica(place) else { return false };
    let Some(process) = &cluster.nodes[place].process else { return false };
    drop(cluster.directory.set(place, None));
    drop(process.spawn(async move { replica.shutdown().await }));
    cluster.nodes[place].ending = true;
    cluster.nodes[place].life = Life::Down(Instant::now() + Duration::from_millis(1_200));
    true
}
