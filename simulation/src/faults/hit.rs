//! Faults of one node, or of all at once.

use raft_log::Durability;
use raft_log::env::Rng as _;
use raft_log::env::sim::Crash;
use tokio::time::Instant;

use super::kind::Kind;
use super::orderly::{end_orderly, hand_over};
use super::trouble::Trouble;
use crate::cluster::{Cluster, soon};
use crate::story::tell_of;
use crate::view::View;

impl Trouble {
    pub(super) fn stop_all(&mut self, cluster: &mut Cluster, kind: Kind) {
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

    pub(super) fn hit(&mut self, cluster: &mut Cluster, view: &View, kind: Kind, place: usize) {
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
