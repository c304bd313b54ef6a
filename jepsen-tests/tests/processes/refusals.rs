//! A node that must not start says why, names what is wrong, and damages nothing: once that is put right, it goes on.

use std::{fs, net::TcpListener, path::Path, time::Duration};

use jepsen_tests::{cluster::Cluster, history::Recorder, setup, workload::publish::Publisher};

use crate::shared;

const TOPIC: &str = "refusals";
const LIMIT: Duration = Duration::from_secs(30);

/// Bytes 8..12 of every file are its format version, 12..16 the CRC32C of the bytes before.
fn make_newer(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    bytes[8..12].copy_from_slice(&99_u32.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..12]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    fs::write(file, bytes).unwrap();
}

/// A cluster that holds some messages, and the id of a node of it that is dead.
async fn cluster_with_a_dead_follower() -> (Cluster, u64) {
    let mut cluster = Cluster::start().await.unwrap();
    setup::create_topic(&cluster, TOPIC, 2).await.unwrap();
    publish_some(&cluster, "before").await;
    let leader = cluster.leader().await.unwrap();
    let follower = cluster.nodes().iter().map(|node| node.id()).find(|id| *id != leader).unwrap();
    cluster.node_mut(follower).kill().await.unwrap();
    (cluster, follower)
}

async fn publish_some(cluster: &Cluster, name: &str) {
    let recorder = std::sync::Arc::new(Recorder::default());
    let publisher = Publisher::start(&shared::steady(cluster, TOPIC, name), &recorder).unwrap();
    shared::more_acknowledged(cluster, &recorder, 50, LIMIT).await.unwrap();
    publisher.stop().await;
}

/// Starts the node with `extra`, and asserts that it ends by itself with words that contain all of `expected`.
async fn assert_refuses(cluster: &mut Cluster, id: u64, extra: &[&str], expected: &[&str]) {
    cluster.node_mut(id).start_with(extra).unwrap();
    let (status, said) = cluster.node_mut(id).ended().await.unwrap();
    assert!(!status.success(), "it ended with {status} and said: {said}");
    assert!(!said.contains("panicked"), "a refusal is no panic: {said}");
    for words in expected {
        assert!(said.contains(words), "{words:?} is expected in: {said}");
    }
}

/// The node starts as if nothing had happened, and all three are equal again.
async fn assert_undamaged(cluster: &mut Cluster, id: u64) {
    cluster.node_mut(id).restart().await.unwrap();
    publish_some(cluster, "after").await;
    shared::assert_replicas_equal(cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_folder_of_another_node_or_group_is_refused() {
    let _turn = shared::turn().await;
    let (mut cluster, id) = cluster_with_a_dead_follower().await;
    let folder = cluster.data_folder(id).unwrap();
    let identity = folder.join("identity");
    let identity = identity.to_str().unwrap();
    let belongs = format!("belongs to node {id}");
    assert_refuses(&mut cluster, id, &["--set", "node.id=77"], &[identity, &belongs, "77"]).await;
    assert_refuses(&mut cluster, id, &["--set", "node.group=9"], &[identity, "belongs to group 1", "9"]).await;
    assert_undamaged(&mut cluster, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_format_of_any_file_is_refused() {
    let _turn = shared::turn().await;
    let (mut cluster, id) = cluster_with_a_dead_follower().await;
    let folder = cluster.data_folder(id).unwrap();
    let in_log = |end: &str| {
        let files = fs::read_dir(folder.join("log")).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|file| file.extension().is_some_and(|it| it == end)).min()
    };
    let segment = in_log("seg").unwrap();
    for file in [folder.join("identity"), folder.join("hard-state"), folder.join("manifest"), segment] {
        if !file.exists() {
            // Not every folder has every file from its first day.
            println!("skipped: {}", file.display());
            continue;
        }
        let good = fs::read(&file).unwrap();
        make_newer(&file);
        assert_refuses(&mut cluster, id, &[], &[file.to_str().unwrap(), "99"]).await;
        fs::write(&file, good).unwrap();
    }
    // A saved index is only a copy of what its segment says, so the segment is read instead.
    if let Some(index) = in_log("idx") {
        make_newer(&index);
    }
    assert_undamaged(&mut cluster, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_and_a_bad_setting_are_named() {
    let _turn = shared::turn().await;
    let (mut cluster, id) = cluster_with_a_dead_follower().await;
    for setting in ["client", "peer", "http"] {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let extra = format!("listen.{setting}={address}");
        assert_refuses(&mut cluster, id, &["--set", &extra], &[&address]).await;
    }
    assert_refuses(&mut cluster, id, &["--set", "storage.durabillity=sync"], &["storage.durabillity"]).await;
    assert_refuses(&mut cluster, id, &["--set", "storage.durability=perhaps"], &["storage.durability", "perhaps"])
        .await;
    assert_undamaged(&mut cluster, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_config_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    for (text, expected) in [
        ("[storage]\n\ndurabillity = \"sync\"\n", "durabillity"),
        ("[storage]\n\ndurability = \"perhaps\"\n", "perhaps"),
        ("[storage]\n\ndurability = \n", "3"),
    ] {
        fs::write(&file, text).unwrap();
        for call in [&["config", "check"][..], &["broker"][..]] {
            let tercetd = jepsen_tests::binaries::tercetd().unwrap();
            let output = std::process::Command::new(tercetd).args(call).arg("--config").arg(&file).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{said}");
            for words in [file.to_str().unwrap(), expected, "line 3"] {
                assert!(said.contains(words), "{words:?} is expected in: {said}");
            }
        }
    }
}
