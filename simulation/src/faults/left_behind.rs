//! A follower is away until the others have purged what it lacks: only a checkpoint can bring it up.
//!
//! A leader keeps what a follower is still to be sent; one that did not lead does not, so leadership is handed to that.

use std::time::Duration;

use raft_log::env::sim::Crash;
use raft_log::types::LogIndex;
use tokio::time::Instant;

use super::kind::Kind;
use super::mends::part;
use super::trouble::Trouble;
use crate::cluster::Cluster;
use crate::hosts::host;
use crate::node::Life;
use crate::view::View;

/// It is let back by then, whatever was purged.
const AWAY_MAX: Duration = Duration::from_secs(4);
/// A little more time for the checkpoint to travel.
const BACK_MAX: Duration = Duration::from_secs(1);

/// The script at some point.
#[derive(Debug)]
pub(super) struct LeftBehind {
    follower: usize,
    /// It was killed and not cut off.
    down: bool,
    /// Leadership was handed to one that has purged.
    handed: bool,
    /// The others have purged what it lacks, and it is back.
    back: bool,
    until: Instant,
}

impl LeftBehind {
    /// Begins with some follower.
    pub(super) fn begin(faults: &mut Trouble, cluster: &mut Cluster) -> Option<LeftBehind> {
        let leader = cluster.leader()?;
        let members = cluster.replica(leader)?.status().members;
        let is_member = |place: usize| members.iter().any(|member| member.id == cluster.nodes[place].id);
        let running = cluster.running();
        let followers: Vec<usize> =
            running.iter().copied().filter(|place| *place != leader && is_member(*place)).collect();
        if followers.is_empty() {
            return None;
        }
        let follower = followers[faults.below(followers.len())];
        let down = faults.rng.chance(40);
        let until = Instant::now() + AWAY_MAX;
        if down {
            cluster.crash(follower, Crash::KeepAll, until + AWAY_MAX);
        } else {
            faults.mends.heal_links(cluster);
            part(&cluster.network, &[follower], &(0..cluster.nodes.len()).collect::<Vec<_>>(), true);
        }
        Some(LeftBehind { follower, down, handed: false, back: false, until })
    }

    /// Goes on; `false` when it is over.
    pub(super) fn step(&mut self, faults: &mut Trouble, cluster: &mut Cluster, view: &View) -> bool {
        if self.back {
            return Instant::now() < self.until;
        }
        let end = view.node(host(self.follower)).map_or(0, crate::view::NodeView::end);
        let past = |place: usize| {
            view.node(host(place)).and_then(|node| node.purged).is_some_and(|purged| purged.index >= LogIndex(end))
        };
        let leader = cluster.leader();
        if !self.handed
            && let Some(leader) = leader.filter(|leader| !past(*leader))
            && let Some(next) = cluster.running().into_iter().find(|place| past(*place))
            && let (Some(replica), Some(process)) = (cluster.replica(leader), &cluster.nodes[leader].process)
        {
            self.handed = true;
            let next = cluster.nodes[next].id;
            drop(process.spawn(async move { replica.transfer_leadership(Some(next)).await }));
        }
        if leader.is_some_and(past) {
            faults.count(Kind::LeftBehind);
            self.let_back(faults, cluster);
            self.until = Instant::now() + BACK_MAX;
        }
        Instant::now() < self.until
    }

    fn let_back(&mut self, faults: &mut Trouble, cluster: &mut Cluster) {
        self.back = true;
        faults.mends.heal_links(cluster);
        if self.down && matches!(cluster.nodes[self.follower].life, Life::Down(_)) {
            cluster.nodes[self.follower].life = Life::Down(Instant::now());
        }
    }

    /// Everything is as before.
    pub(super) fn end(&mut self, faults: &mut Trouble, cluster: &mut Cluster) {
        if !self.back {
            self.let_back(faults, cluster);
        }
    }
}
