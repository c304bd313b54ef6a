//! Reads from files while the log changes.

use crate::support::*;
use raft_log::types::LogIndex;
use std::sync::{Arc, Mutex};

/// What a read of everything gives if the log is cut behind `keep`, and written again, before the first byte is read.
fn read_across_a_truncation(keep: u64) -> Vec<(u64, u64)> {
    let mut node = five_segments();
    let (log, disk) = (node.log.clone(), node.sim.disk.clone());
    let kept = Arc::new(Mutex::new(None));
    let keeper = kept.clone();
    disk.before_next_read(move || {
        node.truncate_after(keep);
        (keep + 1..PER_SEGMENT * 5).for_each(|index| node.append(vec![record(2, index, 1_000)]));
        *keeper.lock().unwrap() = Some(node);
    });
    let read = log.read(LogIndex(0), LogIndex(u64::MAX), usize::MAX).unwrap();
    assert!(kept.lock().unwrap().is_some(), "the log was cut");
    read.iter().map(|record| (record.id.term.0, record.id.index.0)).collect()
}

#[test]
pub(crate) fn a_read_gives_one_log_though_it_is_cut_meanwhile() {
    for keep in [3, 10, 11, 40] {
        let expected: Vec<_> = (0..PER_SEGMENT * 5).map(|index| (1 + u64::from(index > keep), index)).collect();
        assert_eq!(read_across_a_truncation(keep), expected, "cut behind {keep}");
    }
}

// Hazards 24: a released segment's file is written again only if nobody reads it.
#[test]
fn a_read_under_way_never_meets_another_life_of_its_file() {
    let mut node = five_segments();
    let (log, disk) = (node.log.clone(), node.sim.disk.clone());
    let kept = Arc::new(Mutex::new(None));
    let keeper = kept.clone();
    disk.before_next_read(move || {
        node.purge_to(id(1, PER_SEGMENT - 1));
        node.release_below(PER_SEGMENT);
        // In the file that is being read, these would stand exactly where it looks.
        (PER_SEGMENT * 5..PER_SEGMENT * 6).for_each(|index| node.append(vec![record(1, index, 1_000)]));
        *keeper.lock().unwrap() = Some(node);
    });
    let read = log.read(LogIndex(0), LogIndex(PER_SEGMENT), usize::MAX);
    assert_eq!(read.unwrap(), records(1, 0..PER_SEGMENT, 1_000));
    let node = kept.lock().unwrap().take().unwrap();
    assert_eq!(node.bases(), [11, 22, 33, 44, 55], "the segment is gone all the same");
}

// Hazards 11: the tasks of a runtime share its threads, and whoever waited on one of them for a disk would hold up all.
#[cfg(not(tercet_sim))]
#[tokio::test]
async fn a_cold_read_that_waits_for_the_disk_holds_up_no_other_task() {
    const DISK_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
    let node = five_segments();
    let (runs, running) = std::sync::mpsc::channel();
    let waited = Arc::new(Mutex::new(None));
    let outcome = waited.clone();
    // The disk is as slow as the other task; on the one thread of this runtime nobody else could let it go on.
    node.sim.disk.before_next_read(move || *outcome.lock().unwrap() = Some(running.recv_timeout(DISK_PATIENCE)));
    let other = tokio::spawn(async move {
        let _ = runs.send(());
    });
    let read = node.log.fetch(LogIndex(0), LogIndex(1), usize::MAX).await.unwrap();
    other.await.unwrap();
    assert_eq!(read, records(1, 0..1, 1_000));
    assert_eq!(*waited.lock().unwrap(), Some(Ok(())), "the other task ran meanwhile");
}
