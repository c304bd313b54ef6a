//! Damaged logs are repaired from peers (hazards 8): at open, before the node takes part, and in place while it runs.

use crate::support::{Group, PATIENCE};
use raft_log::env::Env;
use raft_log::inspect;
use raft_log::types::{LogIndex, NodeId};
use raft_log::{Health, OpenError};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PAYLOAD: usize = 20_000;
const ENTRIES: u64 = 40;

/// Three nodes with small segments and nothing cached, so that reads come from files; some entries stored.
async fn group() -> Group {
    let group = Group::three_with(|options| {
        options.segment_bytes_max = 256 << 10;
        options.entry_bytes_max = 64 << 10;
        options.cache_bytes_max = 0;
    })
    .await;
    let mut last = LogIndex(0);
    for number in 0..ENTRIES {
        last = group.store(vec![u8::try_from(number).unwrap(); PAYLOAD]).await.id.index;
    }
    group.await_all_applied(last).await;
    group
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let names = std::fs::read_dir(dir.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> = names.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
    segments.sort();
    segments
}

/// Changes bytes behind the node's back.
fn damage(file: &Path, at: u64, bytes: usize) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut content = vec![0; bytes];
    file.read_exact_at(&mut content, at).unwrap();
    content.iter_mut().for_each(|byte| *byte ^= 0x21);
    file.write_all_at(&content, at).unwrap();
}

/// Removes the saved indexes, so that opening reads every record.
fn forget_indexes(dir: &Path) {
    for entry in std::fs::read_dir(dir.join("log")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "idx") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

fn is_whole(dir: &Path) -> bool {
    let report = inspect::verify(&Env::real(), dir).unwrap();
    report.findings.iter().for_each(|finding| println!("{finding}"));
    report.is_whole()
}

#[tokio::test]
async fn a_node_that_is_damaged_in_many_places_repairs_itself_before_it_takes_part() {
    let mut group = group().await;
    let node = group.follower().await;
    group.shut_down(node).await;
    let dir = group.node(node).dir.clone();
    let files = segments(&dir);
    assert!(files.len() >= 3, "{files:?}");
    for file in &files[..2] {
        damage(file, 4_096 + 30_000, 1);
        // Over several records and their headers.
        damage(file, 4_096 + 90_000, 50_000);
    }
    // The end of a sealed segment, with nothing good behind it in the file.
    damage(&files[1], (256 << 10) - 40_000, 40_000);
    damage(files.last().unwrap(), 4_096 + 20, 1);
    assert!(!is_whole(&dir));
    forget_indexes(&dir);
    group.open(node).await.unwrap();
    assert!(group.replica(node).storage_stats().repaired_ranges >= 5, "each repair is counted");
    let stored = group.store(&b"goes on"[..]).await;
    group.await_applied(node, stored.id.index).await;
    assert!(group.assert_equal_entries() as u64 > ENTRIES);
    group.shut_down(node).await;
    assert!(is_whole(&dir));
}

#[tokio::test]
async fn nodes_that_are_damaged_together_repair_each_other_without_a_leader() {
    let mut group = group().await;
    let ids = group.ids();
    for id in &ids {
        group.shut_down(*id).await;
    }
    for (nth, id) in ids.iter().enumerate() {
        let file = &segments(&group.node(*id).dir)[0];
        damage(file, 4_096 + 50_000 * (nth as u64 + 1), 1);
        forget_indexes(&group.node(*id).dir);
    }
    group.open_together().await;
    let stored = group.store(&b"goes on"[..]).await;
    group.await_all_applied(stored.id.index).await;
    assert!(group.assert_equal_entries() as u64 > ENTRIES);
}

#[tokio::test]
async fn damage_that_no_peer_can_mend_stops_the_node_with_a_text_that_says_what_to_do() {
    let mut group = Group::closed(1, |_| {});
    group.open_all().await;
    group.bootstrap().await;
    for _ in 0..5 {
        group.store(vec![7; PAYLOAD]).await;
    }
    let node = NodeId(1);
    group.shut_down(node).await;
    let file = segments(&group.node(node).dir).remove(0);
    damage(&file, 4_096 + 30_000, 1);
    forget_indexes(&group.node(node).dir);
    let before = std::fs::read(&file).unwrap();
    let error = group.open(node).await.unwrap_err();
    assert!(matches!(error, OpenError::NotRepairable { .. }), "{error}");
    let text = error.to_string();
    for part in [&*file.display().to_string(), "at offset", "index", "fresh id"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), before, "nothing is changed");
}

// Opening trusts saved indexes, so the core is the first that reads such a record, when it looks for the membership
// behind what the state has applied.
#[tokio::test]
async fn nodes_that_meet_damage_only_when_the_core_starts_repair_each_other() {
    let mut group = group().await;
    let ids = group.ids();
    for id in &ids {
        group.kill(*id).await;
    }
    for (nth, id) in ids.iter().enumerate() {
        damage(&segments(&group.node(*id).dir)[0], 4_096 + 50_000 * (nth as u64 + 1), 1);
    }
    group.open_together().await;
    for id in &ids {
        assert_eq!(group.replica(*id).storage_stats().repaired_ranges, 1, "before it takes part");
    }
    let stored = group.store(&b"goes on"[..]).await;
    group.await_all_applied(stored.id.index).await;
    assert!(group.assert_equal_entries() as u64 > ENTRIES);
}

#[tokio::test]
async fn damage_that_the_core_meets_when_it_starts_and_nobody_can_mend_is_told_as_well() {
    let mut group = Group::closed(1, |options| {
        options.segment_bytes_max = 256 << 10;
        options.entry_bytes_max = 64 << 10;
    });
    group.open_all().await;
    group.bootstrap().await;
    for _ in 0..20 {
        group.store(vec![7; PAYLOAD]).await;
    }
    let node = NodeId(1);
    group.kill(node).await;
    let file = segments(&group.node(node).dir).remove(0);
    damage(&file, 4_096 + 30_000, 1);
    let error = group.open(node).await.unwrap_err();
    assert!(matches!(error, OpenError::NotRepairable { .. }), "{error}");
    let text = error.to_string();
    for part in [&*file.display().to_string(), "at offset", "entries", "no other member holds it", "fresh id"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn a_damaged_record_in_a_running_log_is_repaired_when_it_is_read() {
    let group = group().await;
    let node = group.follower().await;
    let expected = group.entries(node);
    let dir = group.node(node).dir.clone();
    damage(&segments(&dir)[0], 4_096 + 50_000, 1);
    damage(&segments(&dir)[1], 4_096 + 70_000, 30_000);
    let replica = group.replica(node);
    let mut read = Vec::new();
    while read.len() < expected.len() {
        let from = LogIndex(read.len() as u64);
        read.extend(replica.fetch(from, LogIndex(expected.len() as u64), 1 << 20).await.unwrap());
    }
    assert_eq!(read, expected);
    assert!(replica.storage_stats().repaired_ranges >= 2);
    group.await_status(node, "health", |status| status.health == Health::Healthy && status.gate.is_empty()).await;
}

#[tokio::test]
async fn the_scrub_finds_damage_that_nobody_reads_and_has_it_repaired() {
    let group = group().await;
    let node = group.follower().await;
    let dir = group.node(node).dir.clone();
    damage(&segments(&dir)[1], 4_096 + 50_000, 1);
    let replica = group.replica(node).clone();
    let repaired = async {
        while replica.storage_stats().repaired_ranges == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, repaired).await.unwrap();
    assert!(replica.storage_stats().scrubbed_bytes > 0);
    group.assert_equal_entries();
}

/// The folders of whole checkpoints, oldest first.
fn checkpoints(dir: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(dir.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path());
    let mut whole: Vec<PathBuf> = folders.filter(|folder| folder.join("CHECKPOINT").exists()).collect();
    whole.sort();
    whole
}

// Hazards 36: else a follower that needs the checkpoint would be the first to meet it.
#[tokio::test]
async fn the_scrub_finds_a_damaged_checkpoint_and_it_goes() {
    let mut group = Group::closed(1, |options| {
        options.segment_bytes_max = 256 << 10;
        options.entry_bytes_max = 64 << 10;
        options.retention.check_interval = Duration::from_millis(20);
    });
    let node = NodeId(1);
    let dir = group.node(node).dir.clone();
    group.open_all().await;
    group.bootstrap().await;
    let two_kept = async {
        while checkpoints(&dir).len() < 2 {
            group.store(vec![7; PAYLOAD]).await;
        }
    };
    tokio::time::timeout(PATIENCE, two_kept).await.unwrap();
    group.shut_down(node).await;
    let oldest = checkpoints(&dir).remove(0);
    damage(&oldest.join("state/state"), 100, 1);
    group.open(node).await.unwrap();
    let gone = async {
        while oldest.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the damaged one goes");
    assert!(!checkpoints(&dir).is_empty(), "the others stay");
}
