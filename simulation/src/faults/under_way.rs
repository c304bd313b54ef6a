//! What is made of the trouble that is under way: effects that show later are counted, and what is due is mended.

use super::disk::struck;
use super::kind::Kind;
use super::mends::Mend;
use super::trouble::Trouble;
use crate::cluster::Cluster;
use crate::hosts::host;

impl Trouble {
    /// Counts what ordered faults and cut links did meanwhile.
    pub(super) fn look(&mut self, cluster: &Cluster) {
        let ordered = std::mem::take(&mut self.ordered);
        for (kind, place, before) in ordered {
            if struck(cluster, kind, place) > before {
                self.count(kind);
                if kind == Kind::SyncError {
                    self.sync_failed(cluster, place);
                }
            } else {
                self.ordered.push((kind, place, before));
            }
        }
        if let Some(kind) = self.cut
            && cluster.network.counts().held > self.held
        {
            self.cut = None;
            self.count(kind);
        }
    }

    pub(super) fn mend(&mut self, cluster: &mut Cluster, mend: &Mend) {
        match *mend {
            Mend::Link(from, to) => cluster.network.set_cut(host(from), host(to), false),
            Mend::Latency(from, to) => cluster.network.set_latency_millis(host(from), host(to), None),
            Mend::Disk(place) => cluster.nodes[place].quicken_disk(),
            Mend::Capacity(place) => {
                self.look(cluster);
                self.ordered.retain(|(kind, at, _)| (*kind, *at) != (Kind::DiskFull, place));
                cluster.nodes[place].disk.set_capacity_bytes(None);
                cluster.nodes[place].full = false;
            }
        }
    }
}
