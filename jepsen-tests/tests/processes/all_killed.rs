//! All nodes are killed at the same moment while messages are published, and started again.

use std::{sync::Arc, time::Duration};

use jepsen_tests::{
    checkers,
    cluster::Cluster,
    history::{Recorder, What},
    setup,
    workload::{drain, publish::Publisher},
};

use crate::shared;

const TOPIC: &str = "all-killed";
const ROUNDS: usize = 3;
const ACKNOWLEDGED_BEFORE: usize = 500;
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_killed_at_once_lose_no_acknowledged_message() {
    let _turn = shared::turn().await;
    let mut cluster = Cluster::start().await.unwrap();
    setup::create_topic(&cluster, TOPIC, 4).await.unwrap();
    let recorder = Arc::new(Recorder::default());
    let publisher = Publisher::start(&shared::steady(&cluster, TOPIC, "p"), &recorder).unwrap();
    for _ in 0..ROUNDS {
        shared::more_acknowledged(&cluster, &recorder, ACKNOWLEDGED_BEFORE, LIMIT).await.unwrap();
        recorder.record(What::Fault { what: "SIGKILL to all nodes".to_owned() });
        cluster.kill_all().await.unwrap();
        let ids: Vec<u64> = cluster.nodes().iter().map(|node| node.id()).collect();
        for id in ids {
            cluster.node_mut(id).start().unwrap();
        }
        recorder.record(What::Fault { what: "all nodes started".to_owned() });
    }
    shared::more_acknowledged(&cluster, &recorder, ACKNOWLEDGED_BEFORE, LIMIT).await.unwrap();
    publisher.stop().await;

    drain::drain(&cluster, TOPIC, "reader", &recorder, LIMIT).await.unwrap();
    let events = recorder.events();
    shared::print_counts(&events);
    checkers::assert_none("published messages", &checkers::published(&events));
    shared::assert_replicas_equal(&cluster).await;
}
