//! Something between the nodes resets every connection at once, again and again (hazards 38).

use std::time::Duration;

use raft_log::ElectionOptions;

use crate::group::with_group;

#[test]
fn a_leader_that_lives_is_not_deposed_by_resets_of_all_connections_at_once() {
    for seed in 1..=10 {
        with_group(seed, 3, ElectionOptions::default(), async |mut group| {
            group.pass(Duration::from_secs(1)).await;
            let (leader, term) = (group.leader(), group.term());
            for reset in 1..=40 {
                assert!(group.reset_all() > 0, "seed {seed}: there are connections");
                group.pass(Duration::from_millis(100 + 37 * reset % 900)).await;
                assert_eq!((group.leader(), group.term()), (leader, term), "seed {seed}, reset {reset}");
            }
            assert!(group.stores(Duration::from_secs(2)).await, "seed {seed}");
        });
    }
}

#[test]
fn a_killed_leader_is_replaced_before_its_lease_ends_also_after_resets() {
    for seed in 1..=10 {
        with_group(seed, 3, ElectionOptions::default(), async |mut group| {
            group.pass(Duration::from_secs(1)).await;
            group.reset_all();
            group.pass(Duration::from_secs(1)).await;
            let old = group.leader();
            group.kill(old);
            let gap = group.until_replaced(old, Duration::from_secs(5)).await;
            assert!(gap.is_some_and(|gap| gap < Duration::from_millis(700)), "seed {seed}: {gap:?}");
        });
    }
}
