//! Faults of the network.

use tokio::time::Instant;

use super::kind::Kind;
use super::mends::Mend;
use super::mends::part;
use super::trouble::Trouble;
use crate::budgets::leaderless_max;
use crate::clients::place_of;
use crate::cluster::Cluster;
use crate::hosts::host;
use crate::view::View;

impl Trouble {
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

    /// See [`Kind::Bridge`]. It lasts longer than a group may be without a leader, because one could be elected.
    pub(super) fn bridge(&mut self, cluster: &Cluster, view: &View) {
        let Some(leader) = cluster.leader() else { return };
        let voters: Vec<usize> = view.newest_membership().map_or_else(Vec::new, |newest| {
            newest.configs.iter().flatten().map(|voter| place_of(*voter)).filter(|place| *place != leader).collect()
        });
        if voters.len() < 4 || !voters.iter().all(|place| cluster.replica(*place).is_some()) {
            return;
        }
        let from = self.below(voters.len());
        let (bridge, alone) = (voters[from], voters[(from + 1) % voters.len()]);
        let rest: Vec<usize> = (0..cluster.nodes.len()).filter(|at| ![leader, bridge, alone].contains(at)).collect();
        let cuts = [(vec![leader], [&rest[..], &[alone]].concat()), (vec![alone], [&rest[..], &[bridge]].concat())];
        self.mends.heal_links(cluster);
        self.held = cluster.network.counts().held;
        self.cut = Some(Kind::Bridge);
        let lasts = leaderless_max(&cluster.settings) + self.millis(1_000, 2_000);
        for (these, those) in cuts {
            part(&cluster.network, &these, &those, true);
            for (one, other) in these.iter().flat_map(|one| those.iter().map(move |other| (*one, *other))) {
                self.mends.after(lasts, Mend::Link(one, other));
                self.mends.after(lasts, Mend::Link(other, one));
            }
        }
        // Nothing else comes between.
        self.next = self.next.max(Instant::now() + lasts);
        self.goes_on_until = Some(Instant::now() + lasts);
    }

    /// Each round trip takes longer than a heartbeat's interval, and far less than an election's timeout.
    pub(super) fn far_apart(&mut self, cluster: &Cluster) {
        let election = cluster.settings.election;
        let most = u64::try_from((election.timeout_min / 4).as_millis()).expect("short");
        let least = u64::try_from((election.heartbeat_interval / 2).as_millis()).expect("short") + 1;
        let lasts = self.millis(1_000, 4_000);
        for from in 0..cluster.nodes.len() {
            for to in (0..cluster.nodes.len()).filter(|to| *to != from) {
                cluster.network.set_latency_millis(host(from), host(to), Some((least, most.max(least))));
                self.mends.after(lasts, Mend::Latency(from, to));
            }
        }
        self.count(Kind::FarApart);
    }

    pub(super) fn trouble_links(&mut self, cluster: &Cluster, kind: Kind) {
        let nodes = cluster.nodes.len();
        if nodes < 2 {
            return;
        }
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
