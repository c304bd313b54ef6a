//! Figure 8 of the Raft paper: an entry of a leader that lost its majority comes back with a later leader, after another
//! one in between has overwritten it where it came from.
//!
//! ```text
//!   holding     A ═ B │ C D E      A leads and appends what B alone gets; C, D or E is elected
//!   truncating  C ═ A │ B │ D E    the new leader is cut off before its first append arrives, except at A, which truncates
//!   returning   B ═ D ═ E │ A C    B has the longest log and is elected, with A's entries
//! ```
//! In some runs the first leader, whose disk is slow then, loses power as soon as it has truncated.
//! Each phase ends when the view shows what it waits for, or in time. Slow links give the step time to notice.

use std::time::Duration;

use raft_log::Durability;
use raft_log::env::sim::Crash;
use raft_log::types::Term;
use tokio::time::Instant;

use super::kind::Kind;
use super::mends::part;
use super::trouble::Trouble;
use crate::clients::place_of;
use crate::cluster::{Cluster, soon};
use crate::hosts::host;
use crate::story::tell;
use crate::view::{NodeView, View};

/// The voters that it takes.
const VOTERS_MIN: usize = 5;
/// A phase that has not got anywhere by then ends the script.
const PHASE_MAX: Duration = Duration::from_secs(3);

/// See the module; places of nodes.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Holding { term: Term },
    Truncating { second: usize, term: Term },
    Returning { term: Term },
}

/// The script at some point.
#[derive(Debug)]
pub(super) struct LeadersInTurn {
    first: usize,
    keeper: usize,
    others: Vec<usize>,
    /// The first leader loses power once it has truncated.
    loses_power: bool,
    phase: Phase,
    until: Instant,
}

fn node(view: &View, place: usize) -> Option<&NodeView> {
    view.node(host(place))
}

/// The node at this place leads this term or a later one, as its vote says.
fn leads_after(view: &View, place: usize, term: Term) -> Option<Term> {
    let vote = node(view, place)?.vote?;
    let leads = vote.committed && vote.voted_for.is_some_and(|leader| place_of(leader) == place);
    (leads && vote.term > term).then_some(vote.term)
}

impl LeadersInTurn {
    /// Begins, if the group is whole and large enough.
    pub(super) fn begin(faults: &mut Trouble, cluster: &Cluster) -> Option<LeadersInTurn> {
        let first = cluster.leader()?;
        let status = cluster.replica(first)?.status();
        let voters: Vec<usize> =
            status.members.iter().filter(|member| member.voter).map(|member| place_of(member.id)).collect();
        let sound = |place: &usize| {
            let node = &cluster.nodes[*place];
            cluster.replica(*place).is_some() && node.harm.is_none() && node.paused_until.is_none()
        };
        if voters.len() < VOTERS_MIN || !voters.iter().all(sound) || !voters.contains(&first) {
            return None;
        }
        let followers: Vec<usize> = voters.iter().copied().filter(|place| *place != first).collect();
        let keeper = followers[faults.below(followers.len())];
        let others: Vec<usize> = followers.into_iter().filter(|place| *place != keeper).collect();
        faults.mends.heal_links(cluster);
        let latency = Some((8, 12 + faults.rng.below(20)));
        for from in 0..cluster.nodes.len() {
            for to in (0..cluster.nodes.len()).filter(|to| *to != from) {
                cluster.network.set_latency_millis(host(from), host(to), latency);
            }
        }
        if faults.rng.chance(50) {
            // What the last leader's followers append takes a while to be persisted.
            for process in others.iter().filter_map(|place| cluster.nodes[*place].process.as_ref()) {
                process.set_disk_delay_millis(10, 60);
            }
        }
        part(&cluster.network, &[first, keeper], &others, true);
        let loses_power = cluster.settings.durability == Durability::Sync && faults.rng.chance(50);
        let phase = Phase::Holding { term: status.term };
        Some(LeadersInTurn { first, keeper, others, loses_power, phase, until: Instant::now() + PHASE_MAX })
    }

    /// Goes on; `false` when it is over.
    pub(super) fn step(&mut self, faults: &mut Trouble, cluster: &mut Cluster, view: &View) -> bool {
        match self.phase {
            Phase::Holding { term } => {
                let elected = |place: &usize| leads_after(view, *place, term).map(|term| (*place, term));
                if let Some((second, term)) = self.others.iter().find_map(elected) {
                    let rest: Vec<usize> = self.others.iter().copied().filter(|place| *place != second).collect();
                    part(&cluster.network, &[second, self.first], &[self.keeper], true);
                    part(&cluster.network, &[second], &rest, true);
                    part(&cluster.network, &[second], &[self.first], false);
                    if let Some(process) = cluster.nodes[self.first].process.as_ref().filter(|_| self.loses_power) {
                        process.set_disk_delay_millis(30, 90);
                    }
                    self.next(Phase::Truncating { second, term });
                }
            }
            Phase::Truncating { second, term } => {
                let last = node(view, self.first).and_then(|node| node.log.values().next_back());
                if last.is_some_and(|last| last.id.term == term) {
                    let rest: Vec<usize> = self.others.iter().copied().filter(|place| *place != second).collect();
                    part(&cluster.network, &[second], &[self.first], true);
                    part(&cluster.network, &[self.keeper], &rest, false);
                    if self.loses_power {
                        cluster.crash(self.first, Crash::LoseUnsynced, Instant::now() + soon(&faults.rng));
                    }
                    self.next(Phase::Returning { term });
                }
            }
            Phase::Returning { term } => {
                let leads = leads_after(view, self.keeper, term);
                let applied = node(view, self.keeper).and_then(|node| node.applied).map(|applied| applied.term);
                if leads.is_some() && applied == leads {
                    faults.count(Kind::LeadersInTurn);
                    return false;
                }
            }
        }
        Instant::now() < self.until
    }

    fn next(&mut self, phase: Phase) {
        tell(|| format!("script: {phase:?}"));
        self.phase = phase;
        self.until = Instant::now() + PHASE_MAX;
    }

    /// Everything is as before.
    pub(super) fn end(&self, faults: &mut Trouble, cluster: &mut Cluster) {
        faults.mends.heal_links(cluster);
        for place in self.others.iter().chain([&self.first]) {
            cluster.nodes[*place].quicken_disk();
        }
    }
}
