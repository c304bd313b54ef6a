//! The leader is killed with SIGKILL, again and again, while messages are published.

use std::{sync::Arc, time::Duration};

use jepsen_tests::{
    checkers,
    cluster::Cluster,
    failure::Failure,
    gap,
    history::{Recorder, What},
    workload::{drain, publish},
};

use crate::shared;

const KILLS: usize = 20;
const TOPIC: &str = "kills";
/// Acknowledgements that must come before each kill, so that each one interrupts something.
const ACKNOWLEDGED_BETWEEN_KILLS: usize = 50;
/// How long the group may take to publish again before the test gives up on it.
const RESUME_LIMIT: Duration = Duration::from_secs(20);
const DRAIN_LIMIT: Duration = Duration::from_secs(120);
/// The bounds of the promise.
const GAP_MEDIAN_MAX: Duration = Duration::from_millis(500);
const GAP_MAX: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread")]
async fn twenty_killed_leaders_lose_no_acknowledged_message() {
    let _turn = shared::turn().await;
    let mut cluster = Cluster::start().await.unwrap();
    jepsen_tests::setup::create_topic(&cluster, TOPIC, 4).await.unwrap();
    let recorder = Arc::new(Recorder::default());
    let publisher = publish::Publisher::start(&shared::steady(&cluster, TOPIC, "p"), &recorder).unwrap();

    let mut gaps = Vec::new();
    for number in 1..=KILLS {
        let (leader, gap) = kill_the_leader(&mut cluster, &recorder).await.unwrap();
        println!("kill {number:2}: node {leader}, nothing acknowledged for {gap:.3?}");
        gaps.push(gap);
    }
    publisher.stop().await;

    drain::drain(&cluster, TOPIC, "reader", &recorder, DRAIN_LIMIT).await.unwrap();
    let events = recorder.events();
    shared::print_counts(&events);
    checkers::assert_none("published messages", &checkers::published(&events));
    shared::assert_replicas_equal(&cluster).await;

    let (median, longest) = (gap::median(&gaps), *gaps.iter().max().expect("there were kills"));
    shared::measured(&format!("publish gap over {KILLS} SIGKILLs of leaders: median {median:.3?}, max {longest:.3?}"));
    assert!(median <= GAP_MEDIAN_MAX, "the median gap is {median:?}");
    assert!(longest <= GAP_MAX, "the longest gap is {longest:?}");
}

/// Kills the leader while messages are acknowledged, waits until they are again, and restarts it. Answers with its id
/// and the longest time without an acknowledgement.
async fn kill_the_leader(cluster: &mut Cluster, recorder: &Recorder) -> Result<(u64, Duration), Failure> {
    shared::more_acknowledged(cluster, recorder, ACKNOWLEDGED_BETWEEN_KILLS, RESUME_LIMIT).await?;
    let leader = cluster.leader().await?;
    let from = recorder.record(What::Fault { what: format!("SIGKILL to leader {leader}") });
    cluster.node_mut(leader).kill().await?;
    shared::more_acknowledged(cluster, recorder, ACKNOWLEDGED_BETWEEN_KILLS, RESUME_LIMIT).await?;
    let until = recorder.record(What::Fault { what: format!("restart of node {leader}") });
    cluster.node_mut(leader).restart().await?;
    cluster.caught_up(&[leader], RESUME_LIMIT).await?;
    Ok((leader, gap::longest(&recorder.events(), from, until)))
}
