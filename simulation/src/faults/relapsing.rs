//! A sync fails, its process ends, and soon after the next one has opened the folder the host loses power: what the page
//! cache still showed to that opening is gone. So it is if the process goes on in spite of the fault.

use raft_log::env::sim::Crash;
use tokio::time::Instant;

use super::kind::Kind;
use super::relapse::Relapse;
use super::trouble::Trouble;
use crate::cluster::{Cluster, soon};

/// So many of 100 failed syncs are followed by a loss of power.
const RELAPSES_PERCENT: u64 = 60;
/// So many of 100 lose power as soon as they are open again, before anything is written over.
const AT_ONCE_PERCENT: u64 = 50;
/// And so many of 100 at each later look.
const LATER_PERCENT: u64 = 10;

impl Trouble {
    /// A sync of this node will fail: in some runs this follows.
    pub(super) fn may_relapse(&mut self, cluster: &mut Cluster, place: usize) {
        if self.rng.chance(RELAPSES_PERCENT) {
            cluster.nodes[place].relapses = true;
        }
    }

    /// A sync of this node has just failed.
    pub(super) fn sync_failed(&mut self, cluster: &Cluster, place: usize) {
        if cluster.nodes[place].relapses {
            self.relapses.push(Relapse::begin(place, self.rng.chance(AT_ONCE_PERCENT)));
        }
    }

    /// Goes on with all of them.
    pub(super) fn relapse(&mut self, cluster: &mut Cluster) {
        for mut relapse in std::mem::take(&mut self.relapses) {
            let is_open = cluster.replica(relapse.place).is_some();
            relapse.has_ended |= !is_open || Instant::now() >= relapse.until;
            if relapse.has_ended && is_open && (relapse.at_once || self.rng.chance(LATER_PERCENT)) {
                cluster.nodes[relapse.place].relapses = false;
                cluster.crash(relapse.place, Crash::LoseUnsynced, Instant::now() + soon(&self.rng));
                self.count(Kind::PowerLoss);
            } else {
                self.relapses.push(relapse);
            }
        }
    }
}
