//! What is put right again at its time.

use std::time::Duration;

use raft_log::sim::net::Network;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::hosts::host;

/// Something to be put right at some time.
pub(super) enum Mend {
    /// A cut way from one node to another.
    Link(usize, usize),
    /// A slow one.
    Latency(usize, usize),
    /// A slow disk.
    Disk(usize),
    /// A full disk.
    Capacity(usize),
}

/// Everything that waits for its time.
#[derive(Default)]
pub(super) struct Mends {
    waiting: Vec<(Instant, Mend)>,
}

impl Mends {
    pub(super) fn after(&mut self, pause: Duration, mend: Mend) {
        self.waiting.push((Instant::now() + pause, mend));
    }

    /// Takes what is due out.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Mend> {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(at, _)| *at <= now);
        self.waiting = later;
        due.into_iter().map(|(_, mend)| mend).collect()
    }

    /// Takes everything out.
    pub(super) fn all(&mut self) -> Vec<Mend> {
        std::mem::take(&mut self.waiting).into_iter().map(|(_, mend)| mend).collect()
    }

    /// All links are as new.
    pub(super) fn heal_links(&mut self, cluster: &Cluster) {
        self.waiting.retain(|(_, mend)| !matches!(mend, Mend::Link(..) | Mend::Latency(..)));
        for from in 0..cluster.nodes.len() {
            for to in (0..cluster.nodes.len()).filter(|to| *to != from) {
                cluster.network.set_cut(host(from), host(to), false);
                cluster.network.set_latency_millis(host(from), host(to), None);
            }
        }
    }
}

/// Cuts or mends both ways between each of these and each of those.
pub(super) fn part(network: &Network, these: &[usize], those: &[usize], cut: bool) {
    for one in these {
        for other in those.iter().filter(|other| *other != one) {
            network.set_cut(host(*one), host(*other), cut);
            network.set_cut(host(*other), host(*one), cut);
        }
    }
}
