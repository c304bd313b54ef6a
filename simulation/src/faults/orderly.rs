//! What an operator does to a node in order, at a bad moment.

use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::node::Life;

/// Whoever leads hands its leadership over; `false` if nobody does.
pub(super) fn hand_over(cluster: &Cluster) -> bool {
    let Some(replica) = cluster.leader().and_then(|leader| cluster.replica(leader)) else { return false };
    drop(tokio::spawn(async move { replica.transfer_leadership(None).await }));
    true
}

/// It has time to hand over; then the process is gone. Its end is that of a kill.
pub(super) fn end_orderly(cluster: &mut Cluster, place: usize) -> bool {
    let Some(replica) = cluster.replica(place) else { return false };
    let Some(process) = &cluster.nodes[place].process else { return false };
    drop(cluster.directory.set(place, None));
    drop(process.spawn(async move { replica.shutdown().await }));
    cluster.nodes[place].ending = true;
    cluster.nodes[place].life = Life::Down(Instant::now() + Duration::from_millis(1_200));
    true
}
