//! A follower's disk is put back as it was earlier: a snapshot of its machine, or a restored backup (hazards 34).
//!
//! What it has forgotten is known to the leader to which it had confirmed it, so nothing else happens until that has spoken
//! to it. A copy of which nobody has seen what came after it cannot be told by anybody.

use std::time::Duration;

use raft_log::GateReason;
use raft_log::env::sim::{Crash, SimDisk};
use raft_log::types::LogIndex;
use tokio::time::Instant;

use super::kind::Kind;
use super::trouble::Trouble;
use crate::cluster::{Cluster, soon};
use crate::hosts::host;
use crate::node::Life;
use crate::view::{NodeView, View};

/// What comes after the copy is confirmed by then, or the copy is thrown away.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(4);
/// It is told by then.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// The script at some point.
pub(super) struct OlderCopy {
    follower: usize,
    /// What is put back.
    copy: Option<SimDisk>,
    /// All that it held ends here.
    end: u64,
    until: Instant,
}

/// Whether no other fault is under way that may end a leader.
fn is_calm(cluster: &Cluster) -> bool {
    cluster.nodes.iter().filter(|node| !node.is_out()).all(|node| {
        node.life == Life::Up
            && cluster.replica(node.place).is_some()
            && node.paused_until.is_none()
            && !node.is_disk_hung()
            && !node.is_excused()
    })
}

impl OlderCopy {
    /// Takes a copy of a follower that votes, as it runs or after its end.
    pub(super) fn begin(faults: &mut Trouble, cluster: &mut Cluster, view: &View) -> Option<OlderCopy> {
        let leader = cluster.leader()?;
        if !is_calm(cluster) {
            return None;
        }
        let members = cluster.replica(leader)?.status().members;
        let votes = |place: usize| members.iter().any(|member| member.voter && member.id == cluster.nodes[place].id);
        let followers: Vec<usize> = cluster
            .running()
            .into_iter()
            .filter(|place| *place != leader && votes(*place) && faults.spares_majority(cluster, view, *place))
            .collect();
        if followers.is_empty() {
            return None;
        }
        let follower = followers[faults.below(followers.len())];
        if faults.rng.chance(50) {
            cluster.crash(follower, Crash::KeepAll, Instant::now() + soon(&faults.rng));
        }
        let end = view.node(host(follower)).map_or(0, NodeView::end);
        let (copy, until) = (Some(cluster.nodes[follower].disk.fork()), Instant::now() + CONFIRMED_WITHIN);
        faults.mends.heal_links(cluster);
        Some(OlderCopy { follower, copy, end, until })
    }

    /// Goes on; `false` when it is over.
    pub(super) fn step(&mut self, faults: &mut Trouble, cluster: &mut Cluster) -> bool {
        let is_over = Instant::now() >= self.until;
        if self.copy.is_none() {
            let told = cluster
                .replica(self.follower)
                .is_some_and(|replica| replica.status().gate.contains(&GateReason::OlderCopy));
            return !told && !is_over;
        }
        // An operator may hand leadership over meanwhile.
        if let Some(leader) = self.confirmed_to(cluster).filter(|_| !faults.operator.is_busy())
            && let Some(copy) = self.copy.take()
        {
            // Nor may what was ordered before end the leader before it has spoken to the copy.
            cluster.nodes.iter().for_each(|node| node.disk.clear_faults());
            cluster.put_back(self.follower, &copy, leader, Instant::now() + soon(&faults.rng));
            faults.count(Kind::OlderCopy);
            self.until = Instant::now() + TOLD_WITHIN;
            return true;
        }
        !is_over
    }

    /// A leader that knows of committed entries that the follower confirmed, and the copy lacks.
    fn confirmed_to(&self, cluster: &Cluster) -> Option<usize> {
        let leader = cluster.leader().filter(|leader| *leader != self.follower && is_calm(cluster))?;
        let status = cluster.replica(leader)?.status();
        let confirmed = status.member(cluster.nodes[self.follower].id).and_then(|member| member.matched);
        let committed = status.committed.map(|committed| committed.index);
        (confirmed.min(committed) >= Some(LogIndex(self.end))).then_some(leader)
    }
}
