//! A host of which nobody knows, on the nodes' network: a port scan, a health check, somebody who means harm.

use std::net::{IpAddr, Ipv4Addr};

use raft_log::sim::Process;
use raft_log::sim::net::TcpStream;
use tokio::io::AsyncWriteExt as _;

use super::trouble::Trouble;
use crate::cluster::Cluster;
use crate::hosts::{PEER_PORT, host};

/// Connections that one stranger holds.
const CONNECTIONS: u64 = 4;
/// How long he stays at most.
const STAYS_MILLIS_MAX: u64 = 8_000;

impl Trouble {
    /// He opens some connections to this node, and says to each what the seed decides.
    pub(super) fn stranger(&self, cluster: &Cluster, place: usize) {
        let address = IpAddr::V4(Ipv4Addr::new(10, 9, 0, u8::try_from(1 + self.rng.below(3)).expect("few")));
        cluster.network.power_on(address);
        let process = Process::new(address, cluster.settings.seed ^ self.rng.below(1 << 32));
        for _ in 0..=self.rng.below(CONNECTIONS) {
            let (to, says, stays) = (host(place), self.words(), self.rng.below(STAYS_MILLIS_MAX));
            drop(process.spawn(async move {
                let Ok(stream) = TcpStream::connect(&format!("{to}:{PEER_PORT}")).await else { return };
                let (_read, mut write) = stream.into_split();
                if write.write_all(&says).await.is_ok() {
                    tokio::time::sleep(std::time::Duration::from_millis(stays)).await;
                }
            }));
        }
    }

    /// Nothing, a length and less than that, or nonsense.
    fn words(&self) -> Vec<u8> {
        let length = self.below(200);
        let nonsense: Vec<u8> = (0..length).map(|_| u8::try_from(self.rng.below(256)).expect("a byte")).collect();
        match self.rng.below(4) {
            0 => Vec::new(),
            1 => [&u32::try_from(length + 1_000).expect("small").to_le_bytes()[..], &nonsense].concat(),
            2 => [&u32::try_from(length).expect("small").to_le_bytes()[..], &nonsense].concat(),
            _ => nonsense,
        }
    }
}
