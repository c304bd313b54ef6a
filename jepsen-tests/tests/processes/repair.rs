//! A follower whose files were damaged while it was stopped repairs itself from its peers, and says so (hazards 8).

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use jepsen_tests::{
    binaries, checkers,
    cluster::Cluster,
    command,
    failure::{Doing, Failure},
    history::{Recorder, What},
    http, setup, wait,
    workload::{
        drain,
        publish::{self, Publisher},
    },
};

use tokio::{process::Command, time::timeout};

use crate::shared;

const TOPIC: &str = "repair";
const LIMIT: Duration = Duration::from_secs(30);
/// Enough of these for a sealed segment and an active one.
const BODY_BYTES: usize = 100_000;
const MESSAGES: usize = 250;
/// Small segments, and a scrub that has read them all within a second.
const SETTINGS: [&str; 4] =
    ["--set", "storage.segment_bytes_max=16MiB", "--set", "storage.scrub_bytes_per_second=64MiB"];
const REPAIRS: &str = "tercet_log_repairs_total";

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_in_a_stopped_follower_are_repaired_from_its_peers() {
    let _turn = shared::turn().await;
    let mut cluster = Cluster::start_with(&SETTINGS).await.unwrap();
    setup::create_topic(&cluster, TOPIC, 2).await.unwrap();
    let recorder = Arc::new(Recorder::default());
    let large = publish::Options { body_bytes: BODY_BYTES, ..shared::steady(&cluster, TOPIC, "large") };
    let publisher = Publisher::start(&large, &recorder).unwrap();
    shared::more_acknowledged(&cluster, &recorder, MESSAGES, LIMIT).await.unwrap();
    publisher.stop().await;

    let leader = cluster.leader().await.unwrap();
    let [damaged, _] = shared::others(&cluster, leader);
    cluster.caught_up(&[damaged], LIMIT).await.unwrap();
    // Killed, it leaves no saved index of its active segment, which is then read when the log is opened.
    cluster.node_mut(damaged).kill().await.unwrap();
    let folder = cluster.data_folder(damaged).unwrap();
    let segments = segments(&folder).await;
    let [sealed, .., active] = segments.as_slice() else { panic!("a sealed and an active segment: {segments:?}") };
    for segment in [sealed, active] {
        flip_a_bit(&segment.file, segment.used_bytes / 2);
    }
    recorder.record(What::Fault { what: format!("a bit of two segments of node {damaged} is flipped") });
    let said = verify(&folder).await.unwrap_err().to_string();
    assert!(said.contains("DAMAGED"), "{said}");
    for segment in [sealed, active] {
        let name = segment.file.to_str().unwrap();
        let finding = said.lines().find(|line| line.starts_with("damage:") && line.contains(name));
        assert!(finding.is_some_and(|finding| finding.contains("at offset")), "{name} is expected in: {said}");
    }

    cluster.node_mut(damaged).restart().await.unwrap();
    // One before the node takes part; the sealed segment, which a saved index stands for, by the scrub.
    let repaired = wait::until("both segments are repaired", LIMIT, async || {
        let repairs = http::metric(cluster.node(damaged).http(), REPAIRS).await.ok()?;
        (repairs >= 2.0).then_some(())
    });
    repaired.await.map_err(|failure| format!("{failure}: {}", cluster.node(damaged).said().unwrap())).unwrap();
    let said = cluster.node(damaged).said().unwrap();
    println!("the damaged node said: {said}");
    for segment in [sealed, active] {
        let name = segment.file.to_str().unwrap();
        let told = said.lines().any(|line| line.contains("a damaged range is repaired") && line.contains(name));
        assert!(told, "the repair of {name} is expected in: {said}");
    }
    let ready = wait::until("the repaired node is ready", LIMIT, async || {
        let (code, _) = http::get(cluster.node(damaged).http(), "/readyz").await.ok()?;
        (code == 200).then_some(())
    });
    ready.await.unwrap();

    let publisher = Publisher::start(&shared::steady(&cluster, TOPIC, "after"), &recorder).unwrap();
    shared::more_acknowledged(&cluster, &recorder, 50, LIMIT).await.unwrap();
    publisher.stop().await;
    // It leads, so that what is read below comes from what was repaired.
    let call = ["cluster", "transfer-leader", &damaged.to_string()];
    command::run(&cluster.endpoints(), &call, LIMIT).await.unwrap();
    drain::drain(&cluster, TOPIC, "reader", &recorder, LIMIT).await.unwrap();
    let events = recorder.events();
    shared::print_counts(&events);
    checkers::assert_none("published messages", &checkers::published(&events));
    shared::assert_replicas_equal(&cluster).await;

    cluster.node_mut(damaged).stop().await.unwrap();
    let said = verify(&folder).await.unwrap();
    assert!(said.lines().last() == Some("whole"), "{said}");
}

/// A segment as `tercetd log verify` sees it.
#[derive(Debug)]
struct Segment {
    file: PathBuf,
    used_bytes: u64,
}

/// The segments of a stopped node that hold entries, oldest first.
async fn segments(folder: &Path) -> Vec<Segment> {
    let text = verify_as("json", folder).await.unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let segments = report["segments"].as_array().unwrap().iter();
    let segments = segments.filter(|segment| segment["entries"].as_u64().unwrap() > 0);
    segments
        .map(|segment| Segment {
            file: folder.join("log").join(segment["file"].as_str().unwrap()),
            used_bytes: segment["used_bytes"].as_u64().unwrap(),
        })
        .collect()
}

async fn verify(folder: &Path) -> Result<String, Failure> {
    verify_as("table", folder).await
}

async fn verify_as(format: &str, folder: &Path) -> Result<String, Failure> {
    let mut tercetd = Command::new(binaries::tercetd()?);
    tercetd.args(["log", "verify", "-o", format]).arg(folder).stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(LIMIT, tercetd.output()).await.doing(|| "tercetd log verify".to_owned())?;
    let output = ended.doing(|| "tercetd log verify".to_owned())?;
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    if output.status.success() {
        Ok(out)
    } else {
        Err(Failure(format!("tercetd ended with {}: {err}{out}", output.status)))
    }
}

fn flip_a_bit(file: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 0x10;
    file.write_all_at(&byte, at).unwrap();
}
