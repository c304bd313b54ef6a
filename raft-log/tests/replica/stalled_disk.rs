//! A leader whose disk stalls hands over and keeps out of elections until the disk works again.

use std::time::Duration;

use crate::support::Group;
use crate::support::stalling_disk::Stall;
use raft_log::{GateReason, ProposeError, Role, Status};

const STALL_MAX: Duration = Duration::from_millis(300);

fn gated(status: &Status) -> bool {
    status.gate.contains(&GateReason::DiskStalled)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_with_a_stalled_disk_hands_over_and_comes_back_when_it_works() {
    let stalls = [(); 3].map(|()| Stall::default());
    let group = Group::three_in(stalls.each_ref().map(Stall::env), |options| options.disk_stall_max = STALL_MAX).await;
    group.store("before").await;
    let old = group.leader().await;
    let stall = &stalls[usize::try_from(old.0).unwrap() - 1];

    stall.set(true);
    // The others hold it: an entry that this leader's own disk owes is stored all the same.
    group.replica(old).propose("owed".into(), 1).await.unwrap();
    group.await_status(old, "noticing the stall", gated).await;
    let refused = group.replica(old).propose("refused".into(), 1).await.unwrap_err();
    assert!(matches!(refused, ProposeError::NotLeader { .. }), "{refused}");
    let new = group.leader().await;
    assert_ne!(new, old);
    group.store("by the new leader").await;

    stall.set(false);
    group.await_status(old, "recovering", |status| !gated(status) && status.role == Role::Follower).await;
    let last = group.store("after").await.id.index;
    group.await_all_applied(last).await;
    group.assert_equal_entries();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_takes_no_more_than_its_bound_while_only_its_own_disk_owes_it() {
    const BYTES_MAX: usize = 1 << 20;
    const ENTRY_BYTES: usize = 100 << 10;
    let stalls = [(); 3].map(|()| Stall::default());
    let group = Group::three_in(stalls.each_ref().map(Stall::env), |options| {
        options.propose_bytes_in_flight_max = BYTES_MAX;
        options.disk_stall_max = Duration::from_mins(10);
    })
    .await;
    group.store("before").await;
    let leader = group.leader().await;
    let stall = &stalls[usize::try_from(leader.0).unwrap() - 1];

    stall.set(true);
    let payload = bytes::Bytes::from(vec![7; ENTRY_BYTES]);
    let mut stored = 0;
    // The followers hold each of them, so each is decided.
    let refused = loop {
        match group.replica(leader).propose(payload.clone(), 1).await {
            Ok(_) => stored += ENTRY_BYTES,
            Err(refused) => break refused,
        }
        // One batch is being synced, and is counted until it is.
        assert!(stored <= 2 * BYTES_MAX, "an unbounded tail");
    };
    assert!(matches!(refused, ProposeError::Overloaded { .. }), "{refused}");
    stall.set(false);
    group.store("after").await;
}
