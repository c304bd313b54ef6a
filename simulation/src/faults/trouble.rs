//! The trouble that the faults of a run have made so far: what was ordered, what is to be mended, and what took effect. Each
//! kind of fault adds to it in a file of its own.

use std::time::Duration;

use raft_log::env::sim::SeededRng;
use raft_log::sim::note;
use tokio::time::Instant;

use super::kind::{Effects, Kind};
use super::mends::Mends;
use super::relapse::Relapse;
use crate::cluster::Cluster;
use crate::operator::Operator;
use crate::settings::Settings;

/// See the module.
pub(super) struct Trouble {
    pub(super) rng: SeededRng,
    /// When the next fault comes.
    pub(super) next: Instant,
    pub(super) mends: Mends,
    pub(super) effects: Effects,
    /// Ordered faults whose effect is seen on the disk later: what to count, where, and the count before.
    pub(super) ordered: Vec<(Kind, usize, u64)>,
    pub(super) relapses: Vec<Relapse>,
    pub(super) cut: Option<Kind>,
    pub(super) held: u64,
    pub(super) goes_on_until: Option<Instant>,
    pub(super) wiped: bool,
    pub(super) operator: Operator,
}

impl Trouble {
    /// None yet; the first fault comes a little after the start.
    pub(super) fn new(settings: &Settings) -> Trouble {
        Trouble {
            rng: SeededRng::new(settings.seed ^ 0x6661_756c_7473),
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
        }
    }

    pub(super) fn count(&mut self, kind: Kind) {
        *self.effects.entry(kind).or_default() += 1;
        note(kind as u64);
    }

    pub(super) fn below(&self, limit: usize) -> usize {
        usize::try_from(self.rng.below(limit as u64)).expect("it is below a usize")
    }

    pub(super) fn millis(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.rng.below(most - least + 1))
    }

    /// The leader more often than the others in most runs, in some hardly ever.
    pub(super) fn victim(&self, cluster: &Cluster) -> Option<usize> {
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
}
