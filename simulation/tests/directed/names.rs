//! Members that are known by names (hazards 28).

use std::time::Duration;

use raft_log::env::sim::Crash;
use simulation::hosts::host;
use tokio::time::Instant;

use crate::group::{Group, name, with_named_group};

/// A restarted container may come back with another address under its name. Were a name resolved once, the group would call
/// the old one for ever.
#[test]
fn a_member_is_found_again_when_its_name_stands_for_its_new_address() {
    for seed in 1..=5 {
        with_named_group(seed, 3, async |mut group| {
            group.pass(Duration::from_secs(1)).await;
            let away = (group.leader() + 1) % 3;
            let nobody = "10.9.9.9".parse().unwrap();
            group.cluster.crash(away, Crash::KeepAll, Instant::now() + Duration::from_secs(2));
            group.cluster.network.set_name(&name(away), nobody);
            group.pass(Duration::from_secs(5)).await;
            assert!(group.stores(Duration::from_secs(2)).await, "seed {seed}: the others go on");
            // What is stored reaches it by now if anybody calls it.
            group.pass(Duration::from_secs(1)).await;
            let applied = |group: &Group, place| group.replica(place).status().applied;
            let (own, wanted) = (applied(&group, away), applied(&group, group.leader()));
            assert!(own < wanted, "seed {seed}: nobody calls it by its old address: {own:?} of {wanted:?}");

            group.cluster.network.set_name(&name(away), host(away));
            let has_all = |group: &Group| applied(group, away) >= wanted;
            assert!(group.until(Duration::from_secs(5), has_all).await, "seed {seed}: {:?}", applied(&group, away));
        });
    }
}
