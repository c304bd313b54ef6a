//! What the tests share.

use std::{io::Write as _, time::Duration};

use jepsen_tests::{
    admin, checkers,
    cluster::Cluster,
    failure::Failure,
    history::{Event, Recorder, What},
    wait,
    workload::publish,
};
use tokio::sync::{Mutex, MutexGuard};

/// One cluster at a time: several at once on a small machine would be slow for no fault of theirs.
static TURN: Mutex<()> = Mutex::const_new(());

/// Waits until no other test of this binary runs a cluster.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// A publisher that keeps the group busy without filling the disk.
pub(crate) fn steady(cluster: &Cluster, topic: &str, name: &str) -> publish::Options {
    publish::Options {
        endpoints: cluster.endpoints(),
        topic: topic.to_owned(),
        name: name.to_owned(),
        in_flight: 16,
        pause: Duration::from_millis(5),
        body_bytes: 200,
        send_timeout: Duration::from_secs(30),
    }
}

/// Prints a line, and adds it to the file that the variable MEASURED names: what a passing test prints is not shown.
pub(crate) fn measured(line: &str) {
    println!("{line}");
    if let Some(path) = std::env::var_os("MEASURED") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| writeln!(file, "{line}")).unwrap();
    }
}

/// One line about what the clients saw.
pub(crate) fn print_counts(events: &[Event]) {
    let count = |is: fn(&What) -> bool| events.iter().filter(|event| is(&event.what)).count();
    measured(&format!(
        "{} published: {} acknowledged, {} refused, {} unknown; {} read",
        count(|what| matches!(what, What::Publish { .. })),
        count(|what| matches!(what, What::Stored { .. })),
        count(|what| matches!(what, What::Refused { .. })),
        count(|what| matches!(what, What::Unknown { .. })),
        count(|what| matches!(what, What::Read { .. })),
    ));
}

/// Waits until `more` messages have been acknowledged than now. If they are not, the text says what the nodes do.
pub(crate) async fn more_acknowledged(
    cluster: &Cluster,
    recorder: &Recorder,
    more: usize,
    limit: Duration,
) -> Result<(), Failure> {
    let target = recorder.stored() + more;
    match wait::until("more acknowledgements", limit, async || (recorder.stored() >= target).then_some(())).await {
        Ok(()) => Ok(()),
        Err(failure) => Err(Failure(format!("{failure}{}", cluster.state().await))),
    }
}

/// The two nodes that are not this one.
pub(crate) fn others(cluster: &Cluster, id: u64) -> [u64; 2] {
    let others: Vec<u64> = cluster.nodes().iter().map(|node| node.id()).filter(|other| *other != id).collect();
    others.try_into().unwrap()
}

/// All nodes run, and are equal.
pub(crate) async fn assert_replicas_equal(cluster: &Cluster) {
    let ids: Vec<u64> = cluster.nodes().iter().map(|node| node.id()).collect();
    assert_equal(cluster, &ids).await;
}

/// The logs of these nodes are equal up to the lower commit index, and so are their states at the same index.
pub(crate) async fn assert_equal(cluster: &Cluster, ids: &[u64]) {
    let limit = Duration::from_secs(60);
    let target = cluster.caught_up(ids, limit).await.unwrap();
    let mut logs = Vec::new();
    for id in ids {
        logs.push(admin::log_of(*id, cluster.node(*id).client()).await.unwrap());
    }
    assert!(logs.iter().all(|log| log.committed >= target), "every node has what was committed before");
    checkers::assert_none("equal logs", &checkers::replicas::check(&logs));

    let digests = wait::until("the nodes' states at one index", limit, async || {
        let mut digests = Vec::new();
        for id in ids {
            digests.push(admin::digest_of(*id, cluster.node(*id).client()).await.ok()?);
        }
        digests.iter().all(|digest| digest.applied == digests[0].applied).then_some(digests)
    });
    let digests = digests.await.unwrap();
    checkers::assert_none("equal states", &checkers::digests::check(&digests));
    let [first, ..] = digests.as_slice() else { panic!("there are nodes") };
    println!("nodes {ids:?} are equal up to entry {target}; digest {:016x} at {}", first.digest, first.applied);
}
