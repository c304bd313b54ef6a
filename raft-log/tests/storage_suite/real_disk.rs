//! The real disk, threads and time.

use crate::support::*;
use raft_log::env::Env;
use raft_log::storage::{Durability, Log, OpenError, Record, StorageOptions};
use raft_log::types::LogIndex;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn options_in(dir: &Path) -> StorageOptions {
    StorageOptions {
        segment_bytes_max: 256 << 10,
        record_payload_bytes_max: 128 << 10,
        cache_bytes_max: 32 << 10,
        ..StorageOptions::new(dir, GROUP)
    }
}

fn open(options: StorageOptions) -> Log {
    Log::open(Env::real(), options).unwrap().0
}

fn vote(log: &Log, term: u64) {
    let (sender, receiver) = mpsc::channel();
    log.save_hard_state(voted(term), Box::new(move |result| sender.send(result).unwrap())).unwrap();
    receiver.recv_timeout(PATIENCE).unwrap().unwrap();
}

fn append_and_wait(log: &Log, records: Vec<Record>) {
    let (sender, receiver) = mpsc::channel();
    log.append(records, Box::new(move |result| sender.send(result).unwrap())).unwrap();
    receiver.recv_timeout(PATIENCE).unwrap().unwrap();
}

fn all(log: &Log) -> Vec<Record> {
    log.read(LogIndex(0), LogIndex(u64::MAX), usize::MAX).unwrap()
}

/// Waits, by looking again, for what no event tells.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn entries_of_all_sizes_come_back_through_cache_and_files() {
    let dir = tempfile::tempdir().unwrap();
    let sizes = [0, 1, 100, 5_000, 32 << 10, 100 << 10, 128 << 10];
    let expected: Vec<Record> =
        (0..70).map(|index| record(1, index, sizes[usize::try_from(index).unwrap() % 7])).collect();
    let log = open(options_in(dir.path()));
    vote(&log, 1);
    for chunk in expected.chunks(3) {
        append_and_wait(&log, chunk.to_vec());
    }
    assert_eq!(all(&log), expected);
    assert!(log.stats().reads_from_files > 0);
    assert!(!log.is_cached(LogIndex(0)) && log.is_cached(LogIndex(70)));
    drop(log);
    let log = open(options_in(dir.path()));
    assert_eq!(all(&log), expected);
    for record in &expected {
        let read = log.read(record.id.index, record.id.index.next(), 1).unwrap();
        assert_eq!(&read[..], std::slice::from_ref(record));
    }
}

#[test]
fn many_threads_of_readers_see_only_whole_entries_while_the_log_grows_and_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(options_in(dir.path()));
    vote(&log, 100);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let records = log.read(LogIndex(0), LogIndex(u64::MAX), 1 << 20).unwrap();
                    for (index, read) in (0..).zip(&records) {
                        assert_eq!(*read, record(read.id.term.0, index, read.payload.len()));
                    }
                    assert!(records.is_sorted_by_key(|record| record.id), "terms never fall along the log");
                }
            });
        }
        for term in 1..40 {
            let from = log.bounds().last.map_or(0, |last| last.index.0 + 1);
            append_and_wait(&log, records(term, from..from + 30, 3_000));
            let (sender, receiver) = mpsc::channel();
            let keep = Some(LogIndex(from + 10));
            log.truncate_after(keep, Box::new(move |result| sender.send(result).unwrap())).unwrap();
            receiver.recv_timeout(PATIENCE).unwrap().unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let expected = all(&log);
    drop(log);
    assert_eq!(all(&open(options_in(dir.path()))), expected);
}

#[test]
fn concurrent_appends_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(StorageOptions::new(dir.path(), GROUP));
    vote(&log, 1);
    let (sender, receiver) = mpsc::channel();
    for index in 0..5_000 {
        let sender = sender.clone();
        log.append(vec![record(1, index, 200)], Box::new(move |result| sender.send((index, result)).unwrap())).unwrap();
    }
    for expected in 0..5_000 {
        let (index, result) = receiver.recv_timeout(PATIENCE).unwrap();
        result.unwrap();
        assert_eq!(index, expected, "answers come in order");
    }
    assert!(log.stats().syncs < 2_500, "{:?}", log.stats());
}

#[test]
fn the_durable_mark_is_written_when_nothing_comes() {
    // hazards 3
    let dir = tempfile::tempdir().unwrap();
    let log = open(options_in(dir.path()));
    vote(&log, 1);
    append_and_wait(&log, records(1, 0..3, 100));
    let syncs = log.stats().syncs;
    eventually("a sync of the mark", || log.stats().syncs > syncs);
    // The process dies without a shutdown: a copy of the folder is what it leaves.
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path());
    let (_, report) = Log::open(Env::real(), options_in(copy.path())).unwrap();
    assert_eq!(report.mark, Some(LogIndex(2)));
}

#[test]
fn async_becomes_durable_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(StorageOptions { durability: Durability::Async, ..options_in(dir.path()) });
    vote(&log, 1);
    append_and_wait(&log, records(1, 0..3, 100));
    let durable = log.durable();
    eventually("a background sync", || *durable.borrow() == Some(LogIndex(2)));
}

#[test]
fn a_shutdown_writes_what_is_queued_and_refuses_what_comes_later() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(options_in(dir.path()));
    vote(&log, 1);
    let (sender, receiver) = mpsc::channel();
    for index in 0..100 {
        let sender = sender.clone();
        log.append(vec![record(1, index, 100)], Box::new(move |result| sender.send(result).unwrap())).unwrap();
    }
    log.shutdown();
    assert_eq!(receiver.try_iter().filter(Result::is_ok).count(), 100);
    assert!(log.append(vec![record(1, 100, 1)], Box::new(|_| {})).is_err());
    assert!(log.failure().borrow().is_none(), "a shutdown is no failure");
    assert_eq!(all(&log).len(), 100, "reading goes on");
    let reopened = open(options_in(dir.path()));
    assert_eq!(reopened.bounds().last, Some(id(1, 99)));
}

#[test]
fn the_last_clone_may_go_inside_a_callback() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(options_in(dir.path()));
    vote(&log, 1);
    let clone = log.clone();
    let (sender, receiver) = mpsc::channel();
    let (released, release) = mpsc::channel::<()>();
    log.append(
        vec![record(1, 0, 10)],
        Box::new(move |result| {
            release.recv().unwrap();
            drop(clone);
            sender.send(result.is_ok()).unwrap();
        }),
    )
    .unwrap();
    drop(log);
    released.send(()).unwrap();
    assert!(receiver.recv_timeout(PATIENCE).unwrap());
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(options_in(dir.path()));
    let refused = Log::open(Env::real(), options_in(dir.path())).err().unwrap();
    assert!(matches!(&refused, OpenError::Locked { file } if file.ends_with("LOCK")), "{refused}");
    drop(log);
    open(options_in(dir.path()));
}

#[test]
fn the_next_segment_is_allocated_before_it_is_needed() {
    // hazards 9: a log that still has room can go on for a whole segment on a full disk
    let dir = tempfile::tempdir().unwrap();
    let log = open(options_in(dir.path()));
    vote(&log, 1);
    let segment_bytes = 256 << 10;
    eventually("a prepared segment", || log.stats().allocated_bytes >= segment_bytes);
    for index in 0..12 {
        append_and_wait(&log, vec![record(1, index, 100 << 10)]);
        eventually("the next prepared segment", || log.stats().allocated_bytes >= segment_bytes);
    }
    assert!(dir.path().join("log/next.tmp").exists());
    drop(log);
    let log = open(options_in(dir.path()));
    assert_eq!(all(&log), (0..12).map(|index| record(1, index, 100 << 10)).collect::<Vec<_>>());
}

#[test]
fn files_of_released_segments_become_segments_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = StorageOptions { cache_bytes_max: 0, ..options_in(dir.path()) };
    let log = open(options);
    vote(&log, 1);
    let append = |range: std::ops::Range<u64>| {
        range.for_each(|index| append_and_wait(&log, vec![record(1, index, 100 << 10)]));
    };
    append(0..7);
    assert_eq!(log.segments().iter().map(|one| one.base.0).collect::<Vec<_>>(), [0, 2, 4, 6]);
    let (sender, receiver) = mpsc::channel();
    let done = |sender: &mpsc::Sender<_>| {
        let sender = sender.clone();
        Box::new(move |result| sender.send(result).unwrap())
    };
    log.purge_to(id(1, 5), done(&sender)).unwrap();
    log.release_below(LogIndex(100), done(&sender)).unwrap();
    (0..2).for_each(|_| receiver.recv_timeout(PATIENCE).unwrap().unwrap());
    append(7..20);
    assert_eq!(log.stats().segments_recycled, 2, "as many as are kept");
    drop(log);
    let log = open(options_in(dir.path()));
    assert_eq!(log.read(LogIndex(6), LogIndex(20), usize::MAX).unwrap(), records(1, 6..20, 100 << 10));
}
