//! A node that is not who its peers take it for gets no say: a wiped one, and two that swapped their addresses.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use jepsen_tests::{
    admin, checkers,
    cluster::{Cluster, process::Signal},
    history::{Recorder, What},
    http, setup,
    workload::{drain, publish},
};

use crate::shared;

const LIMIT: Duration = Duration::from_secs(30);
/// Several election timeouts: whoever could elect would have done so by then.
const SILENCE: Duration = Duration::from_secs(5);

/// Publishes for a while and asserts that nothing is acknowledged.
async fn assert_nothing_is_acknowledged(cluster: &Cluster, topic: &str, recorder: &Arc<Recorder>) {
    let before = recorder.stored();
    let options = publish::Options { send_timeout: SILENCE, in_flight: 4, ..shared::steady(cluster, topic, "vain") };
    let publisher = publish::Publisher::start(&options, recorder).unwrap();
    tokio::time::sleep(SILENCE).await;
    publisher.stop().await;
    assert_eq!(recorder.stored(), before, "no majority of the group's own nodes was there to store anything");
}

async fn publish_some(cluster: &Cluster, topic: &str, name: &str, recorder: &Arc<Recorder>) {
    let publisher = publish::Publisher::start(&shared::steady(cluster, topic, name), recorder).unwrap();
    shared::more_acknowledged(cluster, recorder, 100, LIMIT).await.unwrap();
    publisher.stop().await;
}

/// A and B stored a message, B loses its folder, A dies: B and C must not go on without the message.
#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_voter_neither_votes_nor_counts() {
    const TOPIC: &str = "wiped";
    let _turn = shared::turn().await;
    let mut cluster = Cluster::start().await.unwrap();
    setup::create_topic(&cluster, TOPIC, 2).await.unwrap();
    let leader = cluster.leader().await.unwrap();
    let [wiped, behind] = shared::others(&cluster, leader);
    let recorder = Arc::new(Recorder::default());
    cluster.node_mut(behind).kill().await.unwrap();
    publish_some(&cluster, TOPIC, "before", &recorder).await;

    cluster.node_mut(wiped).kill().await.unwrap();
    let folder = cluster.data_folder(wiped).unwrap();
    for part in ["identity", "hard-state", "manifest", "log", "state"].map(|part| folder.join(part)) {
        let removed = if part.is_dir() { fs::remove_dir_all(&part) } else { fs::remove_file(&part) };
        assert!(removed.is_ok() || !part.exists(), "{} is gone", part.display());
    }
    cluster.node_mut(leader).kill().await.unwrap();
    recorder.record(What::Fault { what: format!("node {wiped} is wiped, leader {leader} is dead") });
    cluster.node_mut(wiped).start().unwrap();
    cluster.node_mut(behind).restart().await.unwrap();
    assert_nothing_is_acknowledged(&cluster, TOPIC, &recorder).await;

    cluster.node_mut(leader).restart().await.unwrap();
    publish_some(&cluster, TOPIC, "after", &recorder).await;
    drain::drain(&cluster, TOPIC, "reader", &recorder, LIMIT).await.unwrap();
    let events = recorder.events();
    shared::print_counts(&events);
    checkers::assert_none("published messages", &checkers::published(&events));
    if cluster.node(wiped).is_running() {
        let status = admin::node_status(cluster.node(wiped).client()).await;
        assert!(status.as_ref().is_ok_and(|own| !own.is_healthy_leader && own.committed == 0), "{status:?}");
    }
    let said = cluster.node(wiped).said().unwrap();
    println!("the wiped node said: {said}");
    shared::assert_equal(&cluster, &[leader, behind]).await;
}

/// Two followers answer at each other's peer address. Taken for each other, one could vote twice in a term, or hold an
/// entry for both.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_swapped_addresses_are_not_taken_for_each_other() {
    const TOPIC: &str = "swapped";
    let _turn = shared::turn().await;
    let mut cluster = Cluster::start().await.unwrap();
    setup::create_topic(&cluster, TOPIC, 2).await.unwrap();
    let leader = cluster.leader().await.unwrap();
    let swapped = shared::others(&cluster, leader);
    let recorder = Arc::new(Recorder::default());
    publish_some(&cluster, TOPIC, "before", &recorder).await;

    kill_both(&mut cluster, swapped).await;
    for (id, other) in [(swapped[0], swapped[1]), (swapped[1], swapped[0])] {
        let setting = format!("listen.peer={}", cluster.node(other).peer());
        cluster.node_mut(id).start_with(&["--set", &setting]).unwrap();
    }
    recorder.record(What::Fault { what: format!("nodes {swapped:?} have swapped their peer addresses") });
    // One of them may lead with the vote of the third node, which it reaches where it is: that is safe.
    let options = publish::Options { send_timeout: SILENCE, ..shared::steady(&cluster, TOPIC, "during") };
    let publisher = publish::Publisher::start(&options, &recorder).unwrap();
    tokio::time::sleep(SILENCE).await;
    publisher.stop().await;

    kill_both(&mut cluster, swapped).await;
    for id in swapped {
        cluster.node_mut(id).restart().await.unwrap();
    }
    recorder.record(What::Fault { what: "the addresses are right again".to_owned() });
    publish_some(&cluster, TOPIC, "after", &recorder).await;
    drain::drain(&cluster, TOPIC, "reader", &recorder, LIMIT).await.unwrap();
    let events = recorder.events();
    shared::print_counts(&events);
    checkers::assert_none("published messages", &checkers::published(&events));
    shared::assert_replicas_equal(&cluster).await;
}

async fn kill_both(cluster: &mut Cluster, ids: [u64; 2]) {
    for id in ids {
        cluster.node_mut(id).kill().await.unwrap();
    }
}

/// Whoever does not hold the cluster's secret hears a number and a proof on the peer port, and nothing of cluster or folder; he
/// changes nothing, whatever he says.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_hears_nothing_on_the_peer_port_and_changes_nothing() {
    const TOPIC: &str = "stranger";
    let _turn = shared::turn().await;
    let cluster = Cluster::start().await.unwrap();
    setup::create_topic(&cluster, TOPIC, 2).await.unwrap();
    let (leader, recorder) = (cluster.leader().await.unwrap(), Arc::new(Recorder::default()));
    for node in cluster.nodes() {
        for purpose in 1..=5 {
            assert_introduction_is_not_answered(node.peer(), purpose);
        }
    }
    publish_some(&cluster, TOPIC, "after", &recorder).await;
    assert_eq!(cluster.leader().await.unwrap(), leader, "nobody was deposed");
    for node in cluster.nodes() {
        let (code, text) = http::get(node.http(), "/readyz").await.unwrap();
        assert_eq!(code, 200, "node {}: {text}", node.id());
    }
}

/// The right words of the protocol without a proof.
fn assert_introduction_is_not_answered(address: &str, purpose: u8) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut knock = b"TRCTPEER\x03\x00".to_vec();
    knock.extend_from_slice(&[7; 32]);
    stream.write_all(&knock).unwrap();
    let mut challenge = [0; 76];
    stream.read_exact(&mut challenge).unwrap();
    assert_eq!(
        (&challenge[..10], &challenge[10..12]),
        (&knock[..10], &[0, 1][..]),
        "it has a secret and wants a proof"
    );
    let mut introduction = [0; 377];
    introduction[0] = purpose;
    // It may close the connection before everything is written.
    let _ = stream.write_all(&introduction);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty(), "purpose {purpose}: {rest:?}");
}

/// A leader that is stopped for longer than an election takes comes back as a follower and acknowledges nothing alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_paused_comes_back_without_harm() {
    const TOPIC: &str = "paused";
    let _turn = shared::turn().await;
    let cluster = Cluster::start().await.unwrap();
    setup::create_topic(&cluster, TOPIC, 2).await.unwrap();
    let recorder = Arc::new(Recorder::default());
    let publisher = publish::Publisher::start(&shared::steady(&cluster, TOPIC, "p"), &recorder).unwrap();
    for _ in 0..3 {
        shared::more_acknowledged(&cluster, &recorder, 100, LIMIT).await.unwrap();
        let leader = cluster.leader().await.unwrap();
        recorder.record(What::Fault { what: format!("SIGSTOP to leader {leader}") });
        cluster.node(leader).signal(Signal::STOP).unwrap();
        shared::more_acknowledged(&cluster, &recorder, 100, LIMIT).await.unwrap();
        cluster.node(leader).signal(Signal::CONT).unwrap();
        recorder.record(What::Fault { what: format!("SIGCONT to node {leader}") });
        shared::more_acknowledged(&cluster, &recorder, 100, LIMIT).await.unwrap();
    }
    publisher.stop().await;
    drain::drain(&cluster, TOPIC, "reader", &recorder, LIMIT).await.unwrap();
    let events = recorder.events();
    shared::print_counts(&events);
    checkers::assert_none("published messages", &checkers::published(&events));
    shared::assert_replicas_equal(&cluster).await;
}
