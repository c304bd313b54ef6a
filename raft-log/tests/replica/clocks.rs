//! A group in which a clock is wrong (hazards 19, 35).

use std::sync::Arc;
use std::time::Duration;

use crate::support::clock::WrongClock;
use crate::support::machine::stamped;
use crate::support::{Group, PATIENCE};
use raft_log::env::{Clock, Env};
use raft_log::types::{LogIndex, NodeId, UnixMillis};
use raft_log::{AgePause, ReplicaOptions, Status};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const ENTRY_BYTES: usize = 256 << 10;

/// Small segments that are looked at often, of which those go that are older than this.
fn keeping(age_max: Duration) -> impl Fn(&mut ReplicaOptions) {
    move |options| {
        options.retention.age_max = Some(age_max);
        options.retention.check_interval = Duration::from_millis(20);
        options.retention.trim_percent_max = 100;
    }
}

/// Three nodes, each with a clock of its own that goes right.
async fn with_clocks(tweak: impl Fn(&mut ReplicaOptions) + 'static) -> (Group, [Arc<WrongClock>; 3]) {
    let clocks = [(); 3].map(|()| Arc::new(WrongClock::new(0)));
    let envs = clocks.clone().map(|clock| Env { clock, ..Env::real() });
    (Group::three_in(envs, tweak).await, clocks)
}

fn clock_of(clocks: &[Arc<WrongClock>], id: NodeId) -> &WrongClock {
    &clocks[usize::try_from(id.0).unwrap() - 1]
}

/// Stores large entries, each stamped by the leader.
async fn fill(group: &Group, leader: NodeId, entries: u64) -> LogIndex {
    let mut last = LogIndex(0);
    for _ in 0..entries {
        let stamp = group.replica(leader).stamp(UnixMillis(0));
        last = group.store(stamped(stamp, ENTRY_BYTES)).await.id.index;
    }
    last
}

async fn paused(group: &Group, leader: NodeId) -> AgePause {
    let status = group
        .await_status(leader, "a pause", |status| matches!(status.age_pause, Some(AgePause::ClocksDisagree { .. })));
    status.await.age_pause.unwrap()
}

fn needed_from(group: &Group, id: NodeId) -> LogIndex {
    group.node(id).machine.inside().state.needed_from
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_four_days_ahead_trims_nothing_and_stamps_the_time_of_the_others() {
    let (group, clocks) = with_clocks(keeping(Duration::from_secs(3 * 86_400))).await;
    let leader = group.leader().await;
    let last = fill(&group, leader, 40).await;
    group.await_all_applied(last).await;
    let ahead = group.follower().await;
    clock_of(&clocks, ahead).set_ahead_ms(4 * DAY_MS);
    group.replica(leader).transfer_leadership(Some(ahead)).await.unwrap();
    group.await_status(ahead, "serving", |status| status.serving).await;

    let pause = paused(&group, ahead).await;
    assert_eq!(pause.to_string(), format!("clocks disagree: node {ahead} is +4d"));
    let right = clock_of(&clocks, leader).unix_millis();
    let stamp = group.replica(ahead).stamp(right);
    assert!(stamp.0 - right.0 < 5_000, "{stamp:?} is not far ahead of {right:?}");
    let error = |status: &Status| status.member(ahead).and_then(|member| member.clock_error_ms);
    let told = group.await_status(ahead, "the error", move |status| error(status).is_some()).await;
    assert!((error(&told).unwrap() - 4 * DAY_MS).abs() < 5_000);

    // Far more looks than it would take.
    let last = fill(&group, ahead, 4).await;
    group.await_all_applied(last).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for id in group.ids() {
        assert_eq!(needed_from(&group, id), LogIndex(0));
        assert_eq!(group.replica(id).read(LogIndex(1), LogIndex(2), 1).unwrap()[0].id.index, LogIndex(1));
    }
}

// In files that are all begun just now: what counts is when their entries were stamped.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_by_its_stamps_goes_and_what_is_young_stays() {
    let (group, clocks) = with_clocks(|options| {
        keeping(Duration::from_secs(3 * 86_400))(options);
        options.retention.age_pace_max = u32::MAX;
    })
    .await;
    let leader = group.leader().await;
    let long_ago = UnixMillis(clock_of(&clocks, leader).unix_millis().0 - 4 * DAY_MS as u64);
    let mut old = LogIndex(0);
    for _ in 0..40 {
        old = group.store(stamped(long_ago, ENTRY_BYTES)).await.id.index;
    }
    let young = fill(&group, leader, 40).await;
    group.await_all_applied(young).await;
    let gone = async {
        while group.ids().iter().any(|id| needed_from(&group, *id) < LogIndex(old.0 - 20)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("what is old goes");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(group.ids().iter().all(|id| needed_from(&group, *id) <= old.next()), "what is young stays");
}

// Hazards 35: a log that looks too old at once is more likely a mistake. What goes for its size shows that it is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_looks_too_old_at_once_goes_slowly() {
    let (group, clocks) = with_clocks(|options| {
        keeping(Duration::from_secs(3 * 86_400))(options);
        options.retention.bytes_max = Some(4 * options.segment_bytes_max);
    })
    .await;
    let leader = group.leader().await;
    let known = |status: &Status| status.members.iter().all(|member| member.clock_error_ms.is_some());
    group.await_status(leader, "all clocks", known).await;
    let long_ago = UnixMillis(clock_of(&clocks, leader).unix_millis().0 - 4 * DAY_MS as u64);
    // Two segments and a half.
    for _ in 0..40 {
        group.store(stamped(long_ago, ENTRY_BYTES)).await;
    }
    let trimmed = async {
        while needed_from(&group, leader) == LogIndex(0) {
            fill(&group, leader, 1).await;
        }
    };
    tokio::time::timeout(PATIENCE, trimmed).await.expect("what exceeds the size goes");
    assert!(needed_from(&group, leader) <= LogIndex(20), "and nothing more: {}", needed_from(&group, leader));
    assert_eq!(group.replica(leader).status().age_pause, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_go_by_age_while_the_clocks_agree() {
    let (group, clocks) = with_clocks(keeping(Duration::from_millis(500))).await;
    let leader = group.leader().await;
    let other = group.follower().await;
    clock_of(&clocks, other).set_ahead_ms(-60_000);
    let last = fill(&group, leader, 60).await;
    group.await_all_applied(last).await;
    assert!(matches!(paused(&group, leader).await, AgePause::ClocksDisagree { node, .. } if node == other));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(needed_from(&group, leader), LogIndex(0));
    clock_of(&clocks, other).set_ahead_ms(0);
    let gone = async {
        while group.ids().iter().any(|id| needed_from(&group, *id) < LogIndex(40)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("what is old goes");
    assert_eq!(group.replica(leader).status().age_pause, None);
}
