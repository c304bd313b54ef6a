//! A follower that holds nothing joins a log of several GiB while others publish.
//!
//! ```text
//!   two of three replicas run ─► fill ─► load ─► the third starts with an empty folder ─► load ─► it has all ─► load
//!                                        "two"                                           "catching up"         "three"
//! ```
//! The oldest segments are purged meanwhile, so it begins with a checkpoint and gets the rest from the log. All replicas
//! share the machine's cores and its disk, which in earnest only the leader's sending would cost the publishers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use raft_log::Replica;
use raft_log::types::LogIndex;

use crate::Arguments;
use crate::backlog::fill;
use crate::group::Group;

/// The follower that joins late.
const LATE: usize = 2;

pub(crate) async fn run(arguments: &Arguments) {
    let gib: u64 = arguments.get("gib", 5);
    let (conc, size) = (arguments.get("conc", 256), arguments.get("size", 1024));
    let secs = Duration::from_secs(arguments.get("secs", 20));
    let mut group = Group::open(arguments).await;
    if group.leader().await == LATE {
        group.replica(LATE).transfer_leadership(None).await.expect("two others are live");
    }
    let place = group.leader().await;
    group.kill(LATE).await;
    let leader = group.replica(place).clone();
    fill(&leader, gib << 30).await;
    println!("{}", describe(&leader, "filled"));

    let load = Load::start(&leader, conc, size);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let two = load.measure(secs).await;
    two.print("two replicas");
    let target = leader.status().applied.expect("it was filled").index;
    let begin = Instant::now();
    let memory = PeakMemory::start();
    load.reset();
    group.restart(LATE).await;
    let late = group.replica(LATE).clone();
    caught_up(&late, &leader, target).await;
    let took = begin.elapsed();
    let during = load.take(took);
    during.print("catching up");
    println!("{}", describe(&late, "caught up"));
    println!("caught up with {gib} GiB and what was published meanwhile in {:.1} s", took.as_secs_f64());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let three = load.measure(secs).await;
    three.print("three replicas");
    load.stop().await;
    let ratio = |of: fn(&Measured) -> f64, base: &Measured| of(&during) / of(base);
    println!(
        "publish rate: {:.0} % of two replicas', {:.0} % of three replicas'",
        100.0 * ratio(|m| m.rate, &two),
        100.0 * ratio(|m| m.rate, &three)
    );
    println!(
        "p99: {:.2} times two replicas', {:.2} times three replicas'",
        ratio(|m| m.p99_us, &two),
        ratio(|m| m.p99_us, &three)
    );
    println!("memory: {} MiB at the beginning of the catch-up, {} MiB at most", memory.begin, memory.stop());
}

fn describe(replica: &Replica, what: &str) -> String {
    let status = replica.status();
    let index = |id: Option<raft_log::types::LogId>| id.map_or(0, |id| id.index.0);
    format!("{what}: entries {} to {}", index(status.purged) + 1, index(status.last))
}

/// Waits until `late` has applied what the leader had when it began, and is within a moment of the leader's end.
async fn caught_up(late: &Replica, leader: &Replica, target: LogIndex) {
    const NEAR: u64 = 20_000;
    let mut watch = late.watch();
    let near = |applied: LogIndex| leader.status().applied.is_some_and(|leads| leads.index.0 <= applied.0 + NEAR);
    let reached =
        watch.wait_for(|status| status.applied.is_some_and(|applied| applied.index >= target && near(applied.index)));
    drop(reached.await.expect("the follower lives"));
}

/// What was measured in one phase.
struct Measured {
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

impl Measured {
    fn print(&self, phase: &str) {
        let Measured { rate, p50_us, p99_us, max_us } = self;
        println!(
            "{phase:>14}: {rate:>8.0} entries/s   p50 {p50_us:>6.0} us   p99 {p99_us:>7.0} us   max {max_us:>8.0} us"
        );
    }
}

/// A closed loop of proposers whose latencies are taken phase by phase.
struct Load {
    stop: Arc<AtomicBool>,
    latencies: Vec<Arc<std::sync::Mutex<Histogram<u64>>>>,
    proposers: Vec<tokio::task::JoinHandle<()>>,
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits")
}

impl Load {
    fn start(leader: &Replica, conc: usize, size: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let latencies: Vec<_> = (0..conc).map(|_| Arc::new(std::sync::Mutex::new(histogram()))).collect();
        let payload = Bytes::from(vec![9; size]);
        let propose = |own: &Arc<std::sync::Mutex<Histogram<u64>>>| {
            let (leader, payload, stop, own) = (leader.clone(), payload.clone(), stop.clone(), own.clone());
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    let begin = Instant::now();
                    leader.propose(payload.clone(), 1).await.expect("a healthy group stores");
                    let micros = u64::try_from(begin.elapsed().as_micros()).expect("a run is short");
                    own.lock().expect("nobody panics with it").record(micros).expect("the histogram grows");
                }
            })
        };
        let proposers = latencies.iter().map(propose).collect();
        Load { stop, latencies, proposers }
    }

    async fn measure(&self, lasting: Duration) -> Measured {
        self.reset();
        tokio::time::sleep(lasting).await;
        self.take(lasting)
    }

    fn reset(&self) {
        self.latencies.iter().for_each(|own| own.lock().expect("nobody panics with it").reset());
    }

    fn take(&self, lasting: Duration) -> Measured {
        let mut all = histogram();
        for own in &self.latencies {
            all.add(&*own.lock().expect("nobody panics with it")).expect("the same shape");
        }
        Measured {
            rate: all.len() as f64 / lasting.as_secs_f64(),
            p50_us: all.value_at_quantile(0.5) as f64,
            p99_us: all.value_at_quantile(0.99) as f64,
            max_us: all.max() as f64,
        }
    }

    async fn stop(self) {
        self.stop.store(true, Relaxed);
        for proposer in self.proposers {
            proposer.await.expect("a proposer ends");
        }
    }
}

/// The greatest resident memory of this process, all replicas together, without the pages of mapped files.
struct PeakMemory {
    begin: u64,
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl PeakMemory {
    fn start() -> PeakMemory {
        let begin = resident_mib();
        let (peak, stop) = (Arc::new(AtomicU64::new(begin)), Arc::new(AtomicBool::new(false)));
        let (sampled, stopped) = (peak.clone(), stop.clone());
        tokio::spawn(async move {
            while !stopped.load(Relaxed) {
                sampled.fetch_max(resident_mib(), Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        PeakMemory { begin, peak, stop }
    }

    fn stop(&self) -> u64 {
        self.stop.store(true, Relaxed);
        self.peak.load(Relaxed)
    }
}

/// Anonymous memory of this process.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux tells it apart");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
}
