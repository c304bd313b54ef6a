//! Forming a group (hazards 27).

use std::time::Duration;

use raft_log::BootstrapError;
use raft_log::types::NodeId;

use crate::group::with_unformed_group;

const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// The one that forms the group reaches all, and two of the others do not reach each other: with either of them as leader
/// the other would get nothing.
#[test]
fn voters_that_do_not_reach_each_other_are_named_and_form_no_group() {
    for seed in 1..=5 {
        with_unformed_group(seed, 3, async |mut group| {
            group.cut(1, 2, true);
            let forming = group.bootstrap();
            assert!(group.until(ANSWERED_WITHIN, |_| forming.is_finished()).await, "seed {seed}");
            let refused = forming.await.expect("it is not killed").unwrap_err();
            let apart = [NodeId(2), NodeId(3)];
            let is_right = |node: NodeId, by: NodeId| node != by && apart.contains(&node) && apart.contains(&by);
            let named = matches!(refused, BootstrapError::Advertised { node, by, .. } if is_right(node, by));
            assert!(named, "seed {seed}: {refused}");
            assert!((0..3).all(|place| group.replica(place).status().cluster.is_none()), "seed {seed}");

            group.cut(1, 2, false);
            let forming = group.bootstrap();
            assert!(group.until(ANSWERED_WITHIN, |_| forming.is_finished()).await, "seed {seed}");
            forming.await.expect("it is not killed").expect("they reach each other");
        });
    }
}
