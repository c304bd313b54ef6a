//! Members change by the command line while messages are published: a wiped node is replaced, leadership is handed on.

use std::{fs, sync::Arc, time::Duration};

use jepsen_tests::{
    admin, checkers,
    cluster::Cluster,
    command,
    history::{Recorder, What},
    http, setup, wait,
    workload::{drain, publish::Publisher},
};

use crate::shared;

const LIMIT: Duration = Duration::from_secs(30);
/// Acknowledgements before, between and after the changes, so that each one interrupts something.
const ACKNOWLEDGED_BETWEEN: usize = 100;

/// What was acknowledged is there, once, in its place.
async fn assert_nothing_is_lost(cluster: &Cluster, topic: &str, recorder: &Arc<Recorder>) {
    drain::drain(cluster, topic, "reader", recorder, LIMIT).await.unwrap();
    let events = recorder.events();
    shared::print_counts(&events);
    checkers::assert_none("published messages", &checkers::published(&events));
}

/// Hazards 2: a voter that lost its folder comes back under a fresh id, while publishing goes on; under the old one it
/// is refused, before it is replaced and after.
#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_is_replaced_while_messages_are_published() {
    const TOPIC: &str = "replaced";
    const NEW: u64 = 4;
    let _turn = shared::turn().await;
    let mut cluster = Cluster::start().await.unwrap();
    setup::create_topic(&cluster, TOPIC, 4).await.unwrap();
    let endpoints = cluster.endpoints();
    let recorder = Arc::new(Recorder::default());
    let publisher = Publisher::start(&shared::steady(&cluster, TOPIC, "p"), &recorder).unwrap();
    shared::more_acknowledged(&cluster, &recorder, ACKNOWLEDGED_BETWEEN, LIMIT).await.unwrap();

    let leader = cluster.leader().await.unwrap();
    let [old, third] = shared::others(&cluster, leader);
    cluster.node_mut(old).kill().await.unwrap();
    let folder = cluster.data_folder(old).unwrap();
    let lost = folder.with_extension("lost");
    fs::rename(&folder, &lost).unwrap();
    recorder.record(What::Fault { what: format!("node {old} is wiped") });
    cluster.node_mut(old).restart().await.unwrap();
    wait_until_not_ready(&cluster, old, "never votes under this id").await;
    // Nor does it join as if it were new: its id stands for the folder that is gone.
    let add = ["cluster", "add", &old.to_string(), cluster.node(old).peer()].map(str::to_owned);
    let refused = command::run(&endpoints, &add, LIMIT).await.unwrap_err().to_string();
    assert!(refused.contains("an id that was never used"), "{refused}");

    cluster.add_node(NEW).await.unwrap();
    let replace = ["cluster", "replace", &old.to_string(), &NEW.to_string(), cluster.node(NEW).peer()];
    let members = command::run(&endpoints, &replace, LIMIT).await.unwrap();
    recorder.record(What::Fault { what: format!("node {NEW} has taken the place of node {old}") });
    let shown = members.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>());
    assert!(shown.into_iter().any(|shown| shown == [&*NEW.to_string(), "voter"]), "{members}");
    shared::more_acknowledged(&cluster, &recorder, ACKNOWLEDGED_BETWEEN, LIMIT).await.unwrap();

    // The new one's vote counts, and its disk: with the third one dead, it is half of the majority.
    cluster.node_mut(third).kill().await.unwrap();
    recorder.record(What::Fault { what: format!("SIGKILL to node {third}") });
    shared::more_acknowledged(&cluster, &recorder, ACKNOWLEDGED_BETWEEN, LIMIT).await.unwrap();
    cluster.node_mut(third).restart().await.unwrap();

    // Even with everything that it once held, the old one gets nothing any more and disturbs nobody.
    let term = admin::node_status(cluster.node(leader).client()).await.unwrap().term;
    cluster.node_mut(old).kill().await.unwrap();
    fs::remove_dir_all(&folder).unwrap();
    fs::rename(&lost, &folder).unwrap();
    cluster.node_mut(old).restart().await.unwrap();
    let before = admin::node_status(cluster.node(old).client()).await.unwrap();
    shared::more_acknowledged(&cluster, &recorder, 2 * ACKNOWLEDGED_BETWEEN, LIMIT).await.unwrap();
    publisher.stop().await;
    let after = admin::node_status(cluster.node(old).client()).await.unwrap();
    assert!(!after.is_healthy_leader && after.last == before.last, "{before:?}, then {after:?}");
    assert_eq!(http::get(cluster.node(old).http(), "/readyz").await.unwrap().0, 503);
    assert_eq!(admin::node_status(cluster.node(leader).client()).await.unwrap().term, term, "nobody else was elected");

    assert_nothing_is_lost(&cluster, TOPIC, &recorder).await;
    shared::assert_equal(&cluster, &[leader, third, NEW]).await;
}

async fn wait_until_not_ready(cluster: &Cluster, id: u64, why: &str) {
    let refused = wait::until("a node that is refused", LIMIT, async || {
        let (code, text) = http::get(cluster.node(id).http(), "/readyz").await.ok()?;
        (code == 503 && text.contains(why)).then_some(())
    });
    refused.await.unwrap();
}

/// Hazards 14: leadership goes where it is sent, and no message is lost, doubled or refused for it.
#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_on_while_messages_are_published() {
    const TOPIC: &str = "handed-on";
    const ROUNDS: usize = 2;
    let _turn = shared::turn().await;
    let cluster = Cluster::start().await.unwrap();
    setup::create_topic(&cluster, TOPIC, 4).await.unwrap();
    let recorder = Arc::new(Recorder::default());
    let publisher = Publisher::start(&shared::steady(&cluster, TOPIC, "p"), &recorder).unwrap();

    let mut term = 0;
    for _ in 0..ROUNDS {
        let leader = cluster.leader().await.unwrap();
        let [first, second] = shared::others(&cluster, leader);
        for to in [first, second, leader] {
            shared::more_acknowledged(&cluster, &recorder, ACKNOWLEDGED_BETWEEN, LIMIT).await.unwrap();
            recorder.record(What::Fault { what: format!("leadership to node {to}") });
            let call = ["cluster", "transfer-leader", &to.to_string()];
            let said = command::run(&cluster.endpoints(), &call, LIMIT).await.unwrap();
            assert!(said.contains(&format!("node {to} leads")), "{said}");
            let status = admin::node_status(cluster.node(to).client()).await.unwrap();
            assert!(status.term > term, "term {} follows term {term}", status.term);
            term = status.term;
        }
    }
    shared::more_acknowledged(&cluster, &recorder, ACKNOWLEDGED_BETWEEN, LIMIT).await.unwrap();
    publisher.stop().await;

    let failed: Vec<_> = recorder.events().into_iter().filter(|event| is_failure(&event.what)).collect();
    assert!(failed.is_empty(), "a hand-over costs nobody an acknowledgement: {failed:?}");
    assert_nothing_is_lost(&cluster, TOPIC, &recorder).await;
    shared::assert_replicas_equal(&cluster).await;
}

fn is_failure(what: &What) -> bool {
    matches!(what, What::Refused { .. } | What::Unknown { .. })
}
