//! The schedule of faults, as the seed decides it, and the count of those that took effect.

mod disk;
mod hit;
mod kind;
mod leaders_in_turn;
mod left_behind;
mod mends;
mod network;
mod older_copy;
mod orderly;
mod overwritten_tail;
mod relapse;
mod relapsing;
mod stranger;
mod trouble;
mod under_way;

use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::story::tell;
use crate::view::View;
use leaders_in_turn::LeadersInTurn;
use left_behind::LeftBehind;
use older_copy::OlderCopy;
use overwritten_tail::OverwrittenTail;
use trouble::Trouble;

pub use kind::{Effects, Kind};

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
    trouble: Trouble,
    kinds: Vec<Kind>,
    scripted: Option<Kind>,
    script: Option<Script>,
}

impl Faults {
    /// Faults as the settings say; the first comes a little after the start.
    #[must_use]
    pub fn new(cluster: &Cluster) -> Faults {
        let settings = &cluster.settings;
        Faults {
            trouble: Trouble::new(settings),
            kinds: settings.kinds.iter().copied().collect(),
            scripted: settings.scripted,
            script: None,
        }
    }

    /// Whether something is under way that proves nothing until it is over.
    #[must_use]
    pub fn must_go_on(&self) -> bool {
        self.trouble.goes_on_until.is_some_and(|until| Instant::now() < until)
    }

    /// Mends what is due, goes on with what takes several steps, and makes the next fault if its time has come.
    pub async fn step(&mut self, cluster: &mut Cluster, view: &View) {
        let now = Instant::now();
        for mend in self.trouble.mends.due(now) {
            self.trouble.mend(cluster, &mend);
        }
        self.trouble.look(cluster);
        self.trouble.relapse(cluster);
        if let Some(done) = self.trouble.operator.step(cluster).await {
            self.trouble.count(done);
        }
        if self.go_on(cluster, view) || now < self.trouble.next {
            return;
        }
        let pause = u64::try_from(cluster.settings.fault_pause_max.as_millis()).expect("short");
        self.trouble.next = now + self.trouble.millis(10, pause.max(20));
        let kind = match self.scripted {
            Some(scripted) if self.trouble.rng.chance(SCRIPTED_PERCENT) => scripted,
            _ => self.kinds[self.trouble.below(self.kinds.len())],
        };
        self.make(cluster, view, kind);
    }

    /// Goes on with the script; `false` if there is none. Nothing else happens meanwhile.
    fn go_on(&mut self, cluster: &mut Cluster, view: &View) -> bool {
        let Some(mut script) = self.script.take() else { return false };
        let goes_on = match &mut script {
            Script::LeadersInTurn(script) => script.step(&mut self.trouble, cluster, view),
            Script::LeftBehind(script) => script.step(&mut self.trouble, cluster, view),
            Script::OlderCopy(script) => script.step(&mut self.trouble, cluster),
            Script::OverwrittenTail(script) => script.step(&mut self.trouble, cluster, view),
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
            Script::LeadersInTurn(script) => script.end(&mut self.trouble, cluster),
            Script::LeftBehind(mut script) => script.end(&mut self.trouble, cluster),
            Script::OlderCopy(_) => {}
            Script::OverwrittenTail(script) => script.end(&mut self.trouble, cluster),
        }
        self.trouble.next = Instant::now() + cluster.settings.fault_pause_max;
    }

    /// Mends everything, so that the group can recover; says what took effect.
    #[must_use]
    pub fn end(mut self, cluster: &mut Cluster) -> Effects {
        self.trouble.look(cluster);
        if let Some(script) = self.script.take() {
            self.end_script(cluster, script);
        }
        for mend in self.trouble.mends.all() {
            self.trouble.mend(cluster, &mend);
        }
        self.trouble.operator.end(cluster);
        for node in &mut cluster.nodes {
            node.disk.clear_faults();
            if node.paused_until.take().is_some()
                && let Some(process) = &node.process
            {
                process.set_paused(false);
            }
        }
        self.trouble.effects
    }

    fn make(&mut self, cluster: &mut Cluster, view: &View, kind: Kind) {
        tell(|| format!("fault: {kind}, leader {:?}", cluster.leader().map(|place| place + 1)));
        match kind {
            Kind::Blackout | Kind::KillAll => self.trouble.stop_all(cluster, kind),
            Kind::CutLeader | Kind::CutFollower | Kind::CutOneWay | Kind::CutPair | Kind::Split => {
                self.trouble.cut(cluster, kind);
            }
            Kind::Bridge => self.trouble.bridge(cluster, view),
            Kind::Delay | Kind::Reset => self.trouble.trouble_links(cluster, kind),
            Kind::FarApart => self.trouble.far_apart(cluster),
            Kind::ResetAll => {
                if cluster.network.reset_all() > 0 {
                    self.trouble.count(kind);
                }
            }
            Kind::LeadersInTurn => {
                self.script = LeadersInTurn::begin(&mut self.trouble, cluster).map(Script::LeadersInTurn)
            }
            Kind::LeftBehind => self.script = LeftBehind::begin(&mut self.trouble, cluster).map(Script::LeftBehind),
            Kind::OverwrittenTail => {
                self.script = OverwrittenTail::begin(&mut self.trouble, cluster, view).map(Script::OverwrittenTail);
            }
            Kind::OlderCopy => self.script = OlderCopy::begin(&mut self.trouble, cluster, view).map(Script::OlderCopy),
            _ if kind.changes_members() => self.trouble.operator.begin(cluster, kind),
            _ => {
                if let Some(place) = self.trouble.victim(cluster) {
                    self.trouble.hit(cluster, view, kind, place);
                }
            }
        }
    }
}
