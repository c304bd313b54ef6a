//! How fast one log appends on this machine's disk: `cargo bench -p raft-log --bench storage_append -- [DIR [SEGMENT_MIB]]`.
//!
//! A closed loop: so many single-record appends are in flight at any time. Not the replicated path, only its disk.

use bytes::Bytes;
use hdrhistogram::Histogram;
use raft_log::env::Env;
use raft_log::storage::{Durability, HardState, Log, Record, RecordKind, StorageOptions};
use raft_log::types::{GroupId, LogId, LogIndex, Term};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const RUN: Duration = Duration::from_secs(3);

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let dir = args.next();
    let segment_mib: u64 = args.next().map_or(1_024, |mib| mib.parse().expect("a number of MiB"));
    let dir = dir.map_or_else(|| std::env::current_dir().expect("a current folder"), Into::into);
    println!(
        "{:<6} {:>8} {:>10} {:>10} {:>8} {:>9} {:>9} {:>9}",
        "mode", "bytes", "in flight", "records/s", "MB/s", "p50 us", "p99 us", "rec/sync"
    );
    for durability in [Durability::Sync, Durability::Async] {
        for (bytes, in_flight) in [(1 << 10, 1), (1 << 10, 256), (1 << 10, 1_024), (64 << 10, 8), (1 << 20, 8)] {
            let dir = tempfile::tempdir_in(&dir).expect("a folder to write into");
            let options = StorageOptions::new(dir.path(), GroupId(0));
            run(&StorageOptions { durability, segment_bytes_max: segment_mib << 20, ..options }, bytes, in_flight);
        }
    }
}

fn run(options: &StorageOptions, bytes: usize, in_flight: u64) {
    let (log, _) = Log::open(Env::real(), options.clone()).expect("an empty folder opens");
    let (sender, receiver) = std::sync::mpsc::channel();
    let vote = HardState { term: Term(1), voted_for: None, committed: true };
    log.save_hard_state(vote, Box::new(move |result| sender.send(result).expect("waited for"))).expect("alive");
    receiver.recv().expect("answered").expect("saved");

    let payload = Bytes::from(vec![7; bytes]);
    let completed = Arc::new(AtomicU64::new(0));
    let parked = Arc::new(AtomicBool::new(false));
    let latencies = Arc::new(Mutex::new(Histogram::<u64>::new(3).expect("three digits")));
    let producer = std::thread::current();
    let begin = Instant::now();
    let mut index = 0;
    while begin.elapsed() < RUN {
        while index - completed.load(SeqCst) >= in_flight {
            parked.store(true, SeqCst);
            if index - completed.load(SeqCst) >= in_flight {
                std::thread::park();
            }
            parked.store(false, SeqCst);
        }
        let id = LogId { term: Term(1), index: LogIndex(index) };
        let record = Record::new(id, RecordKind::Command, 1, payload.clone());
        let (completed, parked, latencies, producer) =
            (completed.clone(), parked.clone(), latencies.clone(), producer.clone());
        let sent = Instant::now();
        let done = Box::new(move |result: Result<(), _>| {
            result.expect("the disk works");
            let micros = u64::try_from(sent.elapsed().as_micros()).expect("short");
            latencies.lock().expect("no panic").record(micros.max(1)).expect("in range");
            completed.fetch_add(1, SeqCst);
            if parked.swap(false, SeqCst) {
                producer.unpark();
            }
        });
        log.append(vec![record], done).expect("alive");
        index += 1;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let done = completed.load(SeqCst);
    let stats = log.stats();
    let latencies = latencies.lock().expect("no panic").clone();
    println!(
        "{:<6} {:>8} {:>10} {:>10.0} {:>8.0} {:>9} {:>9} {:>9} {:>9.1}",
        format!("{:?}", options.durability).to_lowercase(),
        bytes,
        in_flight,
        done as f64 / seconds,
        done as f64 * bytes as f64 / seconds / 1e6,
        latencies.value_at_quantile(0.5),
        latencies.value_at_quantile(0.99),
        latencies.max(),
        stats.records as f64 / stats.syncs.max(1) as f64,
    );
    log.shutdown();
}
