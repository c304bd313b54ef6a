//! Connections whose other end lost its power, which nobody ever closes (hazards 39).

use std::time::Duration;

use raft_log::ElectionOptions;
use raft_log::env::sim::Crash;
use tokio::time::Instant;

use crate::group::{Group, with_group};

/// A lease and the shortest timeout together are 800 ms; up to 100 ms of them were over when the leader died.
const BEFORE_THE_LEASE: Duration = Duration::from_millis(700);

/// A leader without power closes nothing. Were its connections counted for ever, its next death would go unnoticed until
/// its lease ends.
#[test]
fn a_leader_that_lost_its_power_once_is_missed_at_once_when_it_dies_again() {
    for seed in 1..=10 {
        with_group(seed, 3, ElectionOptions::default(), async |mut group| {
            group.pass(Duration::from_secs(1)).await;
            let first = group.leader();
            group.cluster.crash(first, Crash::LoseUnsynced, Instant::now() + Duration::from_secs(2));
            assert!(group.until_replaced(first, Duration::from_secs(5)).await.is_some(), "seed {seed}");
            let back = |group: &Group| group.cluster.replica(first).is_some();
            assert!(group.until(Duration::from_secs(10), back).await, "seed {seed}");
            group.pass(Duration::from_secs(5)).await;
            let (second, to) = (group.replica(group.leader()), group.replica(first).status().node_id);
            let handed = tokio::spawn(async move { second.transfer_leadership(Some(to)).await });
            assert!(group.until(Duration::from_secs(5), |_| handed.is_finished()).await, "seed {seed}");
            assert!(group.until(Duration::from_secs(5), |group| group.leads(first)).await, "seed {seed}: {handed:?}");
            group.pass(Duration::from_secs(1)).await;
            group.kill(first);
            let gap = group.until_replaced(first, Duration::from_secs(5)).await;
            assert!(gap.is_some_and(|gap| gap < BEFORE_THE_LEASE), "seed {seed}: {gap:?}");
        });
    }
}
