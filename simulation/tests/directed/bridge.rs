//! Five voters, and a leader that reaches only one of those that could elect another.

use std::time::Duration;

use raft_log::ElectionOptions;

use crate::group::{Group, with_group};

/// ```text
///   leader ── bridge ── a        alone
///                  └─── b        (a and b reach each other)
/// ```
/// The leader has no quorum, but its heartbeats renew the lease at `bridge`, without which a and b elect nobody.
#[test]
fn voters_that_reach_each_other_elect_a_leader_although_one_still_hears_the_old_one() {
    for seed in 1..=10 {
        with_group(seed, 5, ElectionOptions::default(), async |mut group| {
            group.pass(Duration::from_millis(500)).await;
            let old = group.leader();
            let at = |distance: usize| (old + distance) % 5;
            let (bridge, connected, alone) = (at(1), [at(2), at(3)], at(4));
            for other in [connected[0], connected[1], alone] {
                group.cut(old, other, true);
            }
            for other in [bridge, connected[0], connected[1]] {
                group.cut(alone, other, true);
            }
            let elected =
                move |group: &Group| [bridge, connected[0], connected[1]].into_iter().find(|place| group.leads(*place));
            assert!(
                group.until(Duration::from_secs(8), |group| elected(group).is_some()).await,
                "seed {seed}: nobody leads"
            );
            // The old leader goes on in its term; the group's is the one of the highest.
            assert!(group.stores(Duration::from_secs(5)).await, "seed {seed}: nothing is stored during the cut");
            assert!(![old, alone].contains(&group.leader()), "seed {seed}");
        });
    }
}
