//! Faults of disks.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use raft_log::GateReason;
use raft_log::env::Disk as _;
use raft_log::env::sim::{Crash, Fault, FaultKind};
use tokio::time::Instant;

use super::kind::Kind;
use super::mends::Mend;
use super::orderly::hand_over;
use super::trouble::Trouble;
use crate::clients::place_of;
use crate::cluster::{Cluster, DIR, soon};
use crate::majority;
use crate::node::{Harm, Node};
use crate::story::tell_of;
use crate::view::{NodeView, View};

/// How often ordered faults of this kind struck the disk of this node so far.
pub(super) fn struck(cluster: &Cluster, kind: Kind, place: usize) -> u64 {
    let disk = &cluster.nodes[place].disk;
    match kind {
        Kind::SyncError => disk.fault_hits_of(FaultKind::Sync) + disk.fault_hits_of(FaultKind::SyncDir),
        Kind::WriteError => disk.fault_hits_of(FaultKind::Write),
        Kind::ReadError => disk.fault_hits_of(FaultKind::Read),
        _ => disk.refused_as_full(),
    }
}

impl Trouble {
    pub(super) fn break_disk(&mut self, cluster: &mut Cluster, kind: Kind, place: usize) {
        let fault = match kind {
            Kind::SyncError if self.rng.chance(20) => FaultKind::SyncDir,
            Kind::SyncError => FaultKind::Sync,
            Kind::WriteError => FaultKind::Write,
            _ => FaultKind::Read,
        };
        let path = match fault {
            FaultKind::SyncDir => "",
            FaultKind::Sync => ["", ".seg", ".seg", "hard-state", "hard-state", "manifest"][self.below(6)],
            _ => ["", ".seg", ".seg", "hard-state", "manifest", "checkpoints"][self.below(6)],
        };
        let skip = if path == "hard-state" { 0 } else { u32::try_from(self.rng.below(4)).expect("few") };
        // Space that the file system has promised may be gone when it is to be used.
        let is_full = fault == FaultKind::Sync && self.rng.chance(40);
        let error = if is_full { ErrorKind::StorageFull } else { ErrorKind::Other };
        self.order(cluster, kind, place, Fault { skip, error, ..Fault::once(fault, path) });
        if path == "hard-state" && self.rng.chance(50) {
            // Votes are saved where somebody asks for them.
            hand_over(cluster);
        }
    }

    /// Orders a fault of a disk; it counts when it strikes.
    pub(super) fn order(&mut self, cluster: &mut Cluster, kind: Kind, place: usize, fault: Fault) {
        let before = struck(cluster, kind, place);
        cluster.nodes[place].disk.order(fault);
        if kind == Kind::SyncError {
            self.may_relapse(cluster, place);
        }
        self.ordered.push((kind, place, before));
    }

    pub(super) fn fill(&mut self, cluster: &mut Cluster, place: usize) {
        let node = &mut cluster.nodes[place];
        let room = self.rng.below(node.disk.used_bytes() / 2 + 1);
        node.disk.set_capacity_bytes(Some(node.disk.used_bytes() + room));
        node.full = true;
        self.ordered.push((Kind::DiskFull, place, node.disk.refused_as_full()));
        self.mends.after(self.millis(300, 3_000), Mend::Capacity(place));
    }

    pub(super) fn slow_disk(&mut self, cluster: &mut Cluster, place: usize) {
        let Some(process) = &cluster.nodes[place].process else { return };
        let least = self.rng.below(50);
        process.set_disk_delay_millis(least, least + self.rng.below(300));
        cluster.nodes[place].slow = true;
        self.mends.after(self.millis(200, 3_000), Mend::Disk(place));
        self.count(Kind::SlowDisk);
    }

    /// One sync takes longer than a node waits before it keeps out of elections.
    pub(super) fn hang_disk(&mut self, cluster: &mut Cluster, place: usize) {
        let longest = cluster.settings.disk_stall_max + self.millis(100, 3_000);
        let Some(process) = &cluster.nodes[place].process else { return };
        process.hang_disk_once(longest);
        cluster.nodes[place].slow = true;
        self.mends.after(longest + Duration::from_millis(500), Mend::Disk(place));
        self.count(Kind::HungSync);
    }

    /// Damage to what was written within the last 50 ms before a crash may look like a torn write (hazards 3), so there is
    /// some only where the durable mark covers everything.
    pub(super) fn damage(&mut self, cluster: &mut Cluster, view: &View, kind: Kind, place: usize) {
        let marked = |node: &NodeView| node.synced_end <= node.marked_end;
        let quiet = view.node(cluster.nodes[place].address).is_some_and(marked);
        if !quiet || !self.spares_majority(cluster, view, place) {
            return;
        }
        let Some((file, byte)) = self.choose_byte(cluster, place) else { return };
        let node = &mut cluster.nodes[place];
        tell_of(place, format_args!("byte {byte} of {}", file.display()));
        match kind {
            Kind::BadSector => node.disk.lose_blocks(&file, byte as u64, 1),
            _ => node.disk.flip_bit(&file, byte, u8::try_from(self.rng.below(8)).expect("of a byte")),
        }
        node.harm = Some(Harm::Damaged);
        self.count(kind);
        if self.rng.chance(60) && node.process.is_some() {
            cluster.crash(place, Crash::KeepAll, Instant::now() + soon(&self.rng));
        }
    }

    /// A byte of the log, of a checkpoint, or of the files beside them. What is written is more telling than empty space.
    fn choose_byte(&self, cluster: &Cluster, place: usize) -> Option<(PathBuf, usize)> {
        let disk = &cluster.nodes[place].disk;
        let mut files: Vec<PathBuf> = Vec::new();
        let mut folders = vec![PathBuf::from(DIR)];
        while let Some(folder) = folders.pop() {
            folders.extend(disk.list_dirs(&folder).unwrap_or_default().iter().map(|name| folder.join(name)));
            let names = disk.list(&folder).unwrap_or_default();
            files.extend(names.iter().filter(|name| *name != "LOCK").map(|name| folder.join(name)));
        }
        if files.is_empty() {
            return None;
        }
        let newest = files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "seg")).max();
        let any = &files[self.below(files.len())];
        let file = newest.filter(|_| self.rng.chance(50)).unwrap_or(any);
        let content = disk.content(file);
        let written = content.iter().rposition(|byte| *byte != 0).map_or(content.len(), |last| last + 1);
        (written > 0).then(|| (file.clone(), self.below(written)))
    }

    pub(super) fn wipe(&mut self, cluster: &mut Cluster, view: &View, place: usize) {
        // One that has not joined yet may be wiped by whoever owns it: it has promised nothing.
        let member = view.newest_membership().is_some_and(|newest| newest.nodes.contains_key(&cluster.nodes[place].id));
        if self.wiped || !member || !self.spares_majority(cluster, view, place) {
            return;
        }
        self.wiped = true;
        cluster.wipe(place, Instant::now() + soon(&self.rng));
        self.count(Kind::Wipe);
    }

    /// Whether all others run and have forgotten nothing, and are enough to decide without this one.
    pub(super) fn others_remember(&self, cluster: &Cluster, view: &View, place: usize) -> bool {
        let remembers = |node: &Node| match cluster.replica(node.place) {
            Some(replica) => !replica.status().gate.contains(&GateReason::AsyncUnclean),
            None => node.is_out(),
        };
        self.spares_majority(cluster, view, place)
            && cluster.nodes.iter().filter(|node| node.place != place).all(remembers)
    }

    /// Whether the group survives without this node too, whatever membership comes into force: of each set of voters, a
    /// majority must be unharmed.
    pub(super) fn spares_majority(&self, cluster: &Cluster, view: &View, place: usize) -> bool {
        let lost = |place: usize| cluster.nodes[place].harm.is_some() || cluster.nodes[place].is_out();
        if lost(place) {
            return false;
        }
        let current = view.possible_voters();
        majority::of_each(current.iter().chain(self.operator.intended()), |voter| {
            let at = place_of(voter);
            at != place && !lost(at)
        })
    }
}
