//! Whether a reader of old entries disturbs publishers and readers of the newest ones: rounds without and with it.
//!
//! The backlog's pages are dropped from the page cache before each round with a reader, so that it reads from disk (the
//! newest sealed segments stay, because they are mapped; the reader does not come that far). It reads at a bounded rate,
//! as consumers do: one that spins takes a core, which the replicas on this machine then lack.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use raft_log::Replica;
use raft_log::types::LogIndex;

use crate::arguments::Arguments;
use crate::group::Group;

/// Payload bytes of one read of the backlog.
const READ_BYTES: usize = 1 << 20;
/// Entries proposed at once while the backlog is made.
const FILLERS: usize = 64;

pub(crate) async fn run(arguments: &Arguments) {
    let backlog_mb: u64 = arguments.get("backlog-mb", 2048);
    let reader_mb_per_s: f64 = arguments.get("reader-mb-per-s", 200.0);
    let rounds: usize = arguments.get("rounds", 3);
    let group = Group::open(arguments).await;
    let place = group.leader().await;
    let leader = group.replica(place).clone();
    fill(&leader, backlog_mb << 20).await;
    let backlog_end = leader.status().applied.expect("the backlog was applied").index;
    let load = Load {
        every: Duration::from_secs_f64(1.0 / arguments.get("rate", 2_000.0)),
        lasting: Duration::from_secs_f64(arguments.get("secs", 5.0)),
        payload: Bytes::from(vec![7; arguments.get("size", 1024)]),
    };
    println!("entries of {} bytes, one each {:?}; a backlog of {backlog_mb} MiB", load.payload.len(), load.every);
    println!("backlog reader   publish p50    p99 (us)   tail read p50    p99 (us)   backlog MB/s");
    for _ in 0..rounds {
        load.run(&leader).await.print("none", 0.0);
        drop_cached_pages(&group.folder(place).join("log"));
        let reader = BacklogReader::start(leader.clone(), backlog_end, reader_mb_per_s * 1e6);
        let measured = load.run(&leader).await;
        measured.print("one", reader.stop() / load.lasting.as_secs_f64() / 1e6);
    }
}

pub(crate) async fn fill(leader: &Replica, bytes: u64) {
    let payload = Bytes::from(vec![3; 64 << 10]);
    let left = Arc::new(AtomicU64::new(bytes / payload.len() as u64));
    let fillers = (0..FILLERS).map(|_| {
        let (leader, left, payload) = (leader.clone(), left.clone(), payload.clone());
        tokio::spawn(async move {
            while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                leader.propose(payload.clone(), 1).await.expect("a healthy group stores");
            }
        })
    });
    for filler in fillers.collect::<Vec<_>>() {
        filler.await.expect("a filler ends");
    }
}

/// An open loop: each entry has its time, however long the others take.
struct Load {
    every: Duration,
    lasting: Duration,
    payload: Bytes,
}

struct Measured {
    publish: Histogram<u64>,
    tail: Histogram<u64>,
}

impl Load {
    async fn run(&self, leader: &Replica) -> Measured {
        let start = tokio::time::Instant::now();
        let count = (self.lasting.as_secs_f64() / self.every.as_secs_f64()) as u32;
        let mut publishing = Vec::new();
        for number in 0..count {
            let due = start + self.every * number;
            let (leader, payload) = (leader.clone(), self.payload.clone());
            publishing.push(tokio::spawn(async move {
                tokio::time::sleep_until(due).await;
                let stored = leader.propose(payload, 1).await.expect("a healthy group stores");
                let (published, begin) = (due.elapsed(), Instant::now());
                let index = stored.id.index;
                let read = leader.read(index, index.next(), usize::MAX).expect("what is stored is readable");
                assert_eq!(read.len(), 1, "the entry that was stored");
                (published, begin.elapsed())
            }));
        }
        let histogram = || Histogram::<u64>::new(3).expect("three digits");
        let mut measured = Measured { publish: histogram(), tail: histogram() };
        for publishing in publishing {
            let (published, read) = publishing.await.expect("a publisher ends");
            measured.publish.record(micros(published)).expect("the histogram grows");
            measured.tail.record(micros(read)).expect("the histogram grows");
        }
        measured
    }
}

impl Measured {
    fn print(&self, reader: &str, backlog_mb_per_s: f64) {
        let at = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile);
        println!(
            "{reader:14} {:13} {:10} {:15} {:10} {backlog_mb_per_s:14.0}",
            at(&self.publish, 0.5),
            at(&self.publish, 0.99),
            at(&self.tail, 0.5),
            at(&self.tail, 0.99),
        );
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("a run is short")
}

/// Reads the backlog from its start, over and over, on a thread of its own.
struct BacklogReader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<f64>,
}

impl BacklogReader {
    fn start(leader: Replica, end: LogIndex, bytes_per_s: f64) -> BacklogReader {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut at, mut bytes, begin) = (LogIndex(0), 0, Instant::now());
            while !stopped.load(Relaxed) {
                let due = Duration::from_secs_f64(bytes as f64 / bytes_per_s);
                std::thread::sleep(due.saturating_sub(begin.elapsed()));
                let records = leader.read(at, end, READ_BYTES).expect("the backlog is readable");
                bytes += records.iter().map(|record| record.payload.len()).sum::<usize>();
                at = records.last().map_or(LogIndex(0), |last| last.id.index.next());
                if at >= end {
                    at = LogIndex(0);
                }
            }
            bytes as f64
        });
        BacklogReader { stop, thread }
    }

    /// Bytes that were read.
    fn stop(self) -> f64 {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("the reader ends")
    }
}

/// Asks the system to forget the pages of the files in `folder`; only clean ones go.
pub(crate) fn drop_cached_pages(folder: &Path) {
    for file in std::fs::read_dir(folder).expect("the folder of the segments") {
        let file = std::fs::File::open(file.expect("an entry").path()).expect("a segment opens");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("the advice is taken");
    }
}
