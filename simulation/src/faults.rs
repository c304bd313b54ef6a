//! The schedule of faults, as the seed decides it, and the count of those that took effect.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use raft_log::env::sim::{Crash, Fault, FaultKind, SeededRng};
use raft_log::env::{Disk as _, Rng as _};
use raft_log::sim::note;
use tokio::time::Instant;

use crate::cluster::{Cluster, DIR, Life, host, soon};
use crate::story::{tell, tell_of};
use crate::view::{NodeView, View};

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident = $name:literal,)*) => {
        /// What can happen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $($(#[doc = $doc])* $kind,)* }

        impl Kind {
            /// All of them.
            pub const ALL: [Kind; [$(Kind::$kind),*].len()] = [$(Kind::$kind),*];

            /// Its name in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name,)* }
            }
        }
    };
}

kinds! {
    /// A process dies; its host goes on.
    Kill = "process killed",
    /// A host loses power, and everything that was not synced.
    PowerLoss = "power lost",
    /// A host loses power; of what was not synced, parts survive.
    TornWrite = "power lost, torn writes",
    /// The power goes off in the midst of the disk's work.
    MidWrite = "power lost within a write",
    /// All hosts lose power at once.
    Blackout = "power lost everywhere",
    /// All processes die at once.
    KillAll = "all processes killed",
    /// A process ends as it should and starts again.
    Restart = "orderly restart",
    /// A sync fails.
    SyncError = "failed sync",
    /// A write fails.
    WriteError = "failed write",
    /// A read fails.
    ReadError = "failed read",
    /// A disk is full for a while.
    DiskFull = "full disk",
    /// One bit of one file changes, on a minority of the nodes.
    BitFlip = "flipped bit",
    /// A disk is slow for a while.
    SlowDisk = "slow disk",
    /// The leader is cut off from all others.
    CutLeader = "leader cut off",
    /// A node that does not lead is cut off.
    CutFollower = "follower cut off",
    /// One direction between two nodes is cut.
    CutOneWay = "one way cut",
    /// Two nodes do not reach each other, but both reach the others.
    CutPair = "pair cut",
    /// Links are slow for a while.
    Delay = "slow link",
    /// The streams between two nodes break.
    Reset = "streams reset",
    /// A process stands still for less than an election takes.
    PauseShort = "short pause",
    /// A process stands still for longer than an election takes.
    PauseLong = "long pause",
    /// A wall clock jumps.
    ClockJump = "clock jump",
    /// Leadership is handed over.
    Transfer = "leadership handed over",
    /// A node's disk is replaced by an empty one.
    Wipe = "wiped disk",
}

impl Kind {
    /// Whether `async` durability promises to survive it.
    #[must_use]
    pub fn spares_unsynced(self) -> bool {
        use Kind::{BitFlip, Blackout, MidWrite, PowerLoss, SyncError, TornWrite, Wipe, WriteError};
        !matches!(self, PowerLoss | TornWrite | MidWrite | Blackout | SyncError | WriteError | BitFlip | Wipe)
            && self != Kind::DiskFull
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How often faults of each kind took effect.
pub type Effects = BTreeMap<Kind, u64>;

/// Something to be put right at some time.
enum Mend {
    Link(usize, usize),
    Latency(usize, usize),
    Disk(usize),
    Capacity(usize),
}

/// The faults of one run.
pub struct Faults {
    rng: SeededRng,
    kinds: Vec<Kind>,
    next: Instant,
    mends: Vec<(Instant, Mend)>,
    effects: Effects,
    /// Ordered faults whose effect is seen on the disk later: what to count, where, and the count before.
    ordered: Vec<(Kind, usize, u64)>,
    cut: Option<Kind>,
    held: u64,
    wiped: bool,
}

impl Faults {
    /// Faults as the settings say; the first comes a little after the start.
    #[must_use]
    pub fn new(cluster: &Cluster) -> Faults {
        let settings = &cluster.settings;
        Faults {
            rng: SeededRng::new(settings.seed ^ 0x6661_756c_7473),
            kinds: settings.kinds.iter().copied().collect(),
            next: Instant::now() + settings.fault_pause_max,
            mends: Vec::new(),
            effects: Effects::new(),
            ordered: Vec::new(),
            cut: None,
            held: 0,
            wiped: false,
        }
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

    /// Mends what is due and makes the next fault if its time has come.
    pub fn step(&mut self, cluster: &mut Cluster, view: &View) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.mends).into_iter().partition(|(at, _)| *at <= now);
        self.mends = later;
        let due: Vec<(Instant, Mend)> = due;
        due.into_iter().for_each(|(_, mend)| self.mend(cluster, &mend));
        self.look(cluster);
        if now < self.next {
            return;
        }
        let pause = u64::try_from(cluster.settings.fault_pause_max.as_millis()).expect("short");
        self.next = now + self.millis(10, pause.max(20));
        let kind = self.kinds[self.below(self.kinds.len())];
        self.make(cluster, view, kind);
    }

    /// Counts what ordered faults and cut links did meanwhile.
    fn look(&mut self, cluster: &Cluster) {
        let seen = |kind: Kind, place: usize| {
            let disk = &cluster.nodes[place].disk;
            match kind {
                Kind::SyncError => disk.fault_hits_of(FaultKind::Sync) + disk.fault_hits_of(FaultKind::SyncDir),
                Kind::WriteError => disk.fault_hits_of(FaultKind::Write),
                Kind::ReadError => disk.fault_hits_of(FaultKind::Read),
                _ => disk.refused_as_full(),
            }
        };
        let ordered = std::mem::take(&mut self.ordered);
        for (kind, place, before) in ordered {
            if seen(kind, place) > before {
                self.count(kind);
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
            Mend::Disk(place) => {
                if let Some(process) = &cluster.nodes[place].process {
                    process.set_disk_delay_millis(0, 1);
                }
            }
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
        for (_, mend) in std::mem::take(&mut self.mends) {
            self.mend(cluster, &mend);
        }
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

    /// A node that runs, by chance.
    fn any_up(&self, cluster: &Cluster) -> Option<usize> {
        let up: Vec<usize> =
            cluster.nodes.iter().filter(|node| node.process.is_some()).map(|node| node.place).collect();
        (!up.is_empty()).then(|| up[self.below(up.len())])
    }

    /// The leader more often than the others, because it has the most to lose.
    fn victim(&self, cluster: &Cluster) -> Option<usize> {
        match cluster.leader() {
            Some(leader) if self.rng.chance(50) => Some(leader),
            _ => self.any_up(cluster),
        }
    }

    fn make(&mut self, cluster: &mut Cluster, view: &View, kind: Kind) {
        tell(|| format!("fault: {kind}, leader {:?}", cluster.leader().map(|place| place + 1)));
        match kind {
            Kind::Blackout | Kind::KillAll => self.stop_all(cluster, kind),
            Kind::CutLeader | Kind::CutFollower | Kind::CutOneWay | Kind::CutPair => self.cut(cluster, kind),
            Kind::Delay | Kind::Reset => self.trouble_links(cluster, kind),
            _ => {
                if let Some(place) = self.victim(cluster) {
                    self.hit(cluster, view, kind, place);
                }
            }
        }
    }

    fn stop_all(&mut self, cluster: &mut Cluster, kind: Kind) {
        for place in 0..cluster.nodes.len() {
            if cluster.nodes[place].process.is_none() {
                continue;
            }
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
            Kind::PowerLoss => cluster.crash(place, Crash::LoseUnsynced, restart),
            Kind::TornWrite => {
                if cluster.nodes[place].disk.unsynced_files() == 0 {
                    return;
                }
                cluster.crash(place, Crash::Torn { seed: self.rng.next_u64() }, restart);
            }
            Kind::MidWrite => cluster.nodes[place].disk.power_off_after(self.rng.below(12)),
            Kind::Restart => {
                let Some(replica) = cluster.replica(place) else { return };
                let Some(process) = &cluster.nodes[place].process else { return };
                drop(cluster.directory.set(place, None));
                drop(process.spawn(async move { replica.shutdown().await }));
                // It has time to hand over; then the process is gone. Its end is that of a kill.
                cluster.nodes[place].excused = true;
                cluster.nodes[place].life = Life::Down(Instant::now() + Duration::from_millis(1_200));
            }
            Kind::SyncError | Kind::WriteError | Kind::ReadError => return self.break_disk(cluster, kind, place),
            Kind::DiskFull => return self.fill(cluster, place),
            Kind::BitFlip => return self.flip(cluster, view, place),
            Kind::Wipe => return self.wipe(cluster, place),
            Kind::SlowDisk => {
                let Some(process) = &cluster.nodes[place].process else { return };
                let least = self.rng.below(50);
                process.set_disk_delay_millis(least, least + self.rng.below(300));
                self.mends.push((Instant::now() + self.millis(200, 3_000), Mend::Disk(place)));
            }
            Kind::PauseShort => self.pause(cluster, place, 20, 300),
            Kind::PauseLong => self.pause(cluster, place, 800, 4_000),
            Kind::ClockJump => {
                let skew = i64::try_from(self.rng.below(7_200_000)).expect("hours") - 3_600_000;
                cluster.nodes[place].clock.set_skew_millis(skew);
            }
            Kind::Transfer => {
                let Some(replica) = cluster.leader().and_then(|leader| cluster.replica(leader)) else { return };
                drop(tokio::spawn(async move { replica.transfer_leadership(None).await }));
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

    fn break_disk(&mut self, cluster: &mut Cluster, kind: Kind, place: usize) {
        let fault = match kind {
            Kind::SyncError if self.rng.chance(20) => FaultKind::SyncDir,
            Kind::SyncError => FaultKind::Sync,
            Kind::WriteError => FaultKind::Write,
            _ => FaultKind::Read,
        };
        let path = if fault == FaultKind::SyncDir {
            ""
        } else {
            ["", ".seg", ".seg", "hard-state", "manifest"][self.below(5)]
        };
        let node = &mut cluster.nodes[place];
        let before = match kind {
            Kind::SyncError => node.disk.fault_hits_of(FaultKind::Sync) + node.disk.fault_hits_of(FaultKind::SyncDir),
            _ => node.disk.fault_hits_of(fault),
        };
        node.disk.order(Fault { skip: u32::try_from(self.rng.below(4)).expect("few"), ..Fault::once(fault, path) });
        node.excused = true;
        self.ordered.push((kind, place, before));
    }

    fn fill(&mut self, cluster: &mut Cluster, place: usize) {
        let node = &mut cluster.nodes[place];
        let room = self.rng.below(node.disk.used_bytes() / 2 + 1);
        node.disk.set_capacity_bytes(Some(node.disk.used_bytes() + room));
        (node.excused, node.full) = (true, true);
        self.ordered.push((Kind::DiskFull, place, node.disk.refused_as_full()));
        self.mends.push((Instant::now() + self.millis(300, 3_000), Mend::Capacity(place)));
    }

    /// Whether one more node may be lost for good.
    fn spares_majority(cluster: &Cluster, place: usize) -> bool {
        let minority = (cluster.nodes.len() - 1) / 2;
        !cluster.nodes[place].damaged && cluster.lost() < minority
    }

    /// A bit of what was written within the last 50 ms before a crash may look like a torn write (hazards 3), so a bit is
    /// flipped only where the durable mark covers everything.
    fn flip(&mut self, cluster: &mut Cluster, view: &View, place: usize) {
        let marked = |node: &NodeView| node.synced_end <= node.marked_end;
        let quiet = view.node(host(place)).is_some_and(marked);
        if !quiet || !Faults::spares_majority(cluster, place) {
            return;
        }
        let node = &mut cluster.nodes[place];
        let mut files: Vec<PathBuf> = Vec::new();
        for folder in [PathBuf::from(DIR), Path::new(DIR).join("log")] {
            let names = node.disk.list(&folder).unwrap_or_default();
            files.extend(names.iter().filter(|name| *name != "LOCK").map(|name| folder.join(name)));
        }
        if files.is_empty() {
            return;
        }
        let newest = files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "seg")).max();
        let any = &files[usize::try_from(self.rng.below(files.len() as u64)).expect("few")];
        let file = newest.filter(|_| self.rng.chance(50)).unwrap_or(any);
        let content = node.disk.content(file);
        if content.is_empty() {
            return;
        }
        // What is written is more telling than empty space.
        let written = content.iter().rposition(|byte| *byte != 0).map_or(content.len(), |last| last + 1);
        let byte = usize::try_from(self.rng.below(written as u64)).expect("small");
        node.disk.flip_bit(file, byte, u8::try_from(self.rng.below(8)).expect("of a byte"));
        node.damaged = true;
        self.count(Kind::BitFlip);
        if self.rng.chance(60) && node.process.is_some() {
            cluster.crash(place, Crash::KeepAll, Instant::now() + soon(&self.rng));
        }
    }

    fn wipe(&mut self, cluster: &mut Cluster, place: usize) {
        if self.wiped || !Faults::spares_majority(cluster, place) {
            return;
        }
        self.wiped = true;
        cluster.wipe(place, Instant::now() + soon(&self.rng));
        self.count(Kind::Wipe);
    }

    fn cut(&mut self, cluster: &Cluster, kind: Kind) {
        let nodes = cluster.nodes.len();
        let leader = cluster.leader();
        let one = match kind {
            Kind::CutLeader => leader,
            Kind::CutFollower => {
                let others: Vec<usize> = (0..nodes).filter(|place| Some(*place) != leader).collect();
                Some(others[self.below(others.len())])
            }
            _ => Some(self.below(nodes)),
        };
        let Some(one) = one else { return };
        let other = (one + 1 + self.below(nodes - 1)) % nodes;
        let links: Vec<(usize, usize)> = match kind {
            Kind::CutOneWay => vec![(one, other)],
            Kind::CutPair => vec![(one, other), (other, one)],
            _ => (0..nodes).filter(|place| *place != one).flat_map(|place| [(one, place), (place, one)]).collect(),
        };
        let until = Instant::now() + self.millis(100, 4_000);
        for (from, to) in links {
            cluster.network.set_cut(host(from), host(to), true);
            self.mends.push((until, Mend::Link(from, to)));
        }
        self.cut = Some(kind);
        self.held = cluster.network.counts().held;
    }

    fn trouble_links(&mut self, cluster: &Cluster, kind: Kind) {
        let nodes = cluster.nodes.len();
        let one = self.below(nodes);
        let other = (one + 1 + self.below(nodes - 1)) % nodes;
        if kind == Kind::Reset {
            if cluster.network.reset_streams(host(one), host(other)) > 0 {
                self.count(kind);
            }
            return;
        }
        let least = self.rng.below(100);
        let most = least + self.rng.below(400);
        let until = Instant::now() + self.millis(200, 3_000);
        for (from, to) in [(one, other), (other, one)] {
            cluster.network.set_latency_millis(host(from), host(to), Some((least, most)));
            self.mends.push((until, Mend::Latency(from, to)));
        }
        self.count(kind);
    }
}
