//! Slow disks and slow links: a group elects a leader and keeps it.

use std::time::Duration;

use raft_log::ElectionOptions;

use crate::group::with_group;

/// One way; a round trip takes twice that, longer than the interval of heartbeats.
const LINK_MILLIS: u64 = 75;
const SYNC_MILLIS: u64 = 200;

#[test]
fn links_whose_round_trip_is_longer_than_the_heartbeat_interval_keep_their_leader() {
    for seed in 1..=5 {
        with_group(seed, 3, ElectionOptions::default(), async |mut group| {
            group.slow_links(LINK_MILLIS);
            group.reset_all();
            // All connections come up anew over the slow links.
            group.pass(Duration::from_secs(5)).await;
            let term = group.term();
            group.pass(Duration::from_secs(20)).await;
            assert_eq!(group.term(), term, "seed {seed}: an idle group elects nobody");
            assert!(group.stores(Duration::from_secs(3)).await, "seed {seed}");
            let reader = group.replica(group.leader());
            let read = tokio::spawn(async move { reader.read_index().await });
            assert!(group.until(Duration::from_secs(3), |_| read.is_finished()).await, "seed {seed}");
            assert!(read.await.unwrap().is_ok(), "seed {seed}");
            let old = group.leader();
            group.kill(old);
            let gap = group.until_replaced(old, Duration::from_secs(10)).await;
            assert!(gap.is_some_and(|gap| gap < Duration::from_secs(3)), "seed {seed}: {gap:?}");
            assert!(group.stores(Duration::from_secs(3)).await, "seed {seed}");
        });
    }
}

#[test]
fn a_leader_is_elected_and_kept_where_each_sync_takes_two_hundred_milliseconds() {
    for seed in 1..=5 {
        with_group(seed, 3, ElectionOptions::default(), async |mut group| {
            for node in &group.cluster.nodes {
                node.process.as_ref().unwrap().set_disk_delay_millis(SYNC_MILLIS, SYNC_MILLIS);
            }
            group.pass(Duration::from_secs(2)).await;
            let old = group.leader();
            group.kill(old);
            let gap = group.until_replaced(old, Duration::from_secs(20)).await;
            assert!(gap.is_some_and(|gap| gap < Duration::from_secs(3)), "seed {seed}: {gap:?}");
            let term = group.term();
            assert!(group.stores(Duration::from_secs(5)).await, "seed {seed}");
            group.pass(Duration::from_secs(10)).await;
            assert_eq!(group.term(), term, "seed {seed}: it stays");
        });
    }
}
