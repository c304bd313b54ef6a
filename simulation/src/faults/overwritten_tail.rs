//! A leader that is cut off fills the end of its log with what the others never get, and dies while that is overwritten.
//!
//! ```text
//!   writing      A │ B C     A appends in its term; B is elected in another
//!   restarting   A │ B C     in some runs A restarts meanwhile, and saves the index of what it holds
//!   sending      A ═ C │ B   in some runs A, whose disk reads slowly, still sends to the others what is cut then
//!   cutting      A ═ B ═ C   B's first append makes A cut its log; in some runs a disk call fails, or A's disk is slow
//!   dying                    A dies in the midst of that or a moment later; in some runs its host loses power
//! ```
//! What the cut left behind, on the disk or in the page cache, is seen by the opening that follows.

use std::time::Duration;

use raft_log::Durability;
use raft_log::env::sim::{Crash, Fault, FaultKind};
use raft_log::types::Term;
use tokio::time::Instant;

use super::kind::Kind;
use super::mends::part;
use super::orderly::end_orderly;
use super::trouble::Trouble;
use crate::cluster::{Cluster, soon};
use crate::hosts::host;
use crate::story::tell;
use crate::view::{NodeView, View};

/// A phase that has not got anywhere by then ends the script.
const PHASE_MAX: Duration = Duration::from_secs(4);
/// The old leader reaches its followers for this long before the new one reaches it.
const SENDS_FOR: Duration = Duration::from_millis(10);
/// Entries that the leader appends in vain, at least.
const IN_VAIN_MIN: u64 = 2;

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The log's end when it was cut off.
    Writing {
        end: u64,
    },
    Restarting {
        seen_down: bool,
    },
    /// It reaches all but the one that leads now, since then.
    Sending {
        since: Instant,
    },
    Cutting,
    Dying,
}

/// The script at some point.
#[derive(Debug)]
pub(super) struct OverwrittenTail {
    leader: usize,
    term: Term,
    restarts: bool,
    phase: Phase,
    until: Instant,
}

fn log_end(view: &View, place: usize) -> u64 {
    view.node(host(place)).map_or(0, NodeView::end)
}

impl OverwrittenTail {
    /// Begins with the leader, if there is one and it is well.
    pub(super) fn begin(faults: &mut Trouble, cluster: &Cluster, view: &View) -> Option<OverwrittenTail> {
        let leader = cluster.leader()?;
        let term = cluster.replica(leader)?.status().term;
        if cluster.nodes[leader].harm.is_some() || cluster.nodes[leader].full {
            return None;
        }
        faults.mends.heal_links(cluster);
        part(&cluster.network, &[leader], &(0..cluster.nodes.len()).collect::<Vec<_>>(), true);
        let phase = Phase::Writing { end: log_end(view, leader) };
        let restarts = faults.rng.chance(60);
        Some(OverwrittenTail { leader, term, restarts, phase, until: Instant::now() + PHASE_MAX })
    }

    /// Goes on; `false` when it is over.
    pub(super) fn step(&mut self, faults: &mut Trouble, cluster: &mut Cluster, view: &View) -> bool {
        let is_open = cluster.replica(self.leader).is_some();
        match self.phase {
            Phase::Writing { end } => {
                let is_replaced = cluster.leader().is_some_and(|leader| {
                    let seen = view.node(host(leader));
                    leader != self.leader && seen.and_then(|node| node.applied).is_some_and(|at| at.term > self.term)
                });
                if is_replaced && log_end(view, self.leader) >= end + IN_VAIN_MIN {
                    if self.restarts && end_orderly(cluster, self.leader) {
                        self.next(Phase::Restarting { seen_down: false });
                    } else {
                        self.let_back(faults, cluster);
                    }
                }
            }
            Phase::Restarting { seen_down: true } if is_open => self.let_back(faults, cluster),
            Phase::Restarting { seen_down } => self.phase = Phase::Restarting { seen_down: seen_down || !is_open },
            Phase::Sending { since } => {
                if since.elapsed() > SENDS_FOR {
                    faults.mends.heal_links(cluster);
                    self.next(Phase::Cutting);
                }
            }
            Phase::Cutting => {
                let last = view.node(host(self.leader)).and_then(|node| node.log.values().next_back());
                if last.is_none_or(|last| last.id.term > self.term) {
                    self.next(Phase::Dying);
                }
            }
            // It may have died already, of what was ordered.
            Phase::Dying if faults.rng.chance(30) => {
                if is_open {
                    let sync = cluster.settings.durability == Durability::Sync;
                    let crash = match faults.rng.below(3) {
                        0 if sync => Crash::LoseUnsynced,
                        1 if sync => Crash::Torn { seed: faults.rng.below(u64::MAX) },
                        _ => Crash::KeepAll,
                    };
                    cluster.crash(self.leader, crash, Instant::now() + soon(&faults.rng));
                }
                faults.count(Kind::OverwrittenTail);
                return false;
            }
            Phase::Dying => {}
        }
        Instant::now() < self.until
    }

    /// The others reach it again; what is to go wrong with its disk is ordered.
    fn let_back(&mut self, faults: &mut Trouble, cluster: &mut Cluster) {
        faults.mends.heal_links(cluster);
        if cluster.settings.durability == Durability::Sync {
            match faults.rng.below(6) {
                0 | 1 => cluster.nodes[self.leader].disk.power_off_after(faults.rng.below(24)),
                2 | 3 => faults.order(cluster, Kind::SyncError, self.leader, Fault::once(FaultKind::Sync, ".seg")),
                4 => faults.order(cluster, Kind::WriteError, self.leader, Fault::once(FaultKind::Write, ".seg")),
                _ => {}
            }
        }
        if let Some(process) = &cluster.nodes[self.leader].process {
            match faults.rng.below(3) {
                0 => process.set_disk_delay_millis(10, 60),
                // It still reads what it was to send as the leader when that is cut.
                1 => {
                    process.set_read_delay_millis(20 + faults.rng.below(60));
                    let new = cluster.leader().filter(|new| *new != self.leader);
                    part(&cluster.network, &[self.leader], new.as_slice(), true);
                    return self.next(Phase::Sending { since: Instant::now() });
                }
                _ => {}
            }
        }
        self.next(Phase::Cutting);
    }

    fn next(&mut self, phase: Phase) {
        tell(|| format!("script: {phase:?}"));
        self.phase = phase;
        self.until = Instant::now() + PHASE_MAX;
    }

    /// Everything is as before.
    pub(super) fn end(&self, faults: &mut Trouble, cluster: &mut Cluster) {
        faults.mends.heal_links(cluster);
        cluster.nodes[self.leader].quicken_disk();
    }
}
