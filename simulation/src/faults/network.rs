//! Faults of the network.

use super::mends::part;
use super::{Faults, Kind, Mend};
use crate::cluster::{Cluster, host};

impl Faults {
    pub(super) fn cut(&mut self, cluster: &Cluster, kind: Kind) {
        let running = cluster.running();
        let leader = cluster.leader();
        if running.len() < 2 {
            return;
        }
        let any = running[self.below(running.len())];
        let others = |one: usize| running.iter().copied().filter(|place| *place != one).collect::<Vec<_>>();
        let (these, those) = match kind {
            Kind::CutLeader => {
                let Some(leader) = leader else { return };
                (vec![leader], others(leader))
            }
            Kind::CutFollower => {
                let followers: Vec<usize> = running.iter().copied().filter(|place| Some(*place) != leader).collect();
                let one = followers[self.below(followers.len())];
                (vec![one], others(one))
            }
            Kind::Split => running.iter().partition(|_| self.rng.chance(50)),
            _ => {
                let others = others(any);
                (vec![any], vec![others[self.below(others.len())]])
            }
        };
        self.held = cluster.network.counts().held;
        self.cut = Some(kind);
        let lasts = self.millis(100, 4_000);
        if kind == Kind::CutOneWay {
            cluster.network.set_cut(host(these[0]), host(those[0]), true);
            self.mends.after(lasts, Mend::Link(these[0], those[0]));
            return;
        }
        part(&cluster.network, &these, &those, true);
        for one in these {
            for other in &those {
                self.mends.after(lasts, Mend::Link(one, *other));
                self.mends.after(lasts, Mend::Link(*other, one));
            }
        }
    }

    pub(super) fn trouble_links(&mut self, cluster: &Cluster, kind: Kind) {
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
        let lasts = self.millis(200, 3_000);
        for (from, to) in [(one, other), (other, one)] {
            cluster.network.set_latency_millis(host(from), host(to), Some((least, most)));
            self.mends.after(lasts, Mend::Latency(from, to));
        }
        self.count(kind);
    }
}
