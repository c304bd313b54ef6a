//! Proposers whose latencies are taken phase by phase, in a closed or in an open loop.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use raft_log::Replica;
use tokio::task::{JoinHandle, JoinSet};

/// How often an open loop looks at what is due; the wait for it counts as latency.
const TICK: Duration = Duration::from_millis(1);

/// When the next entry is proposed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many proposers, each as soon as its last entry is stored: shows what the group can do.
    Closed(usize),
    /// So many a second, whatever became of those before: shows what each of them waits.
    Open(f64),
}

impl std::fmt::Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pace::Closed(proposers) => write!(f, "closed loop, {proposers} proposers"),
            Pace::Open(rate) => write!(f, "open loop, {rate:.0}/s"),
        }
    }
}

/// What was measured in one phase.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Stored entries a second.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Entries that were refused, or whose fate is unknown, by what was said of them.
    pub(crate) failures: BTreeMap<String, Failures>,
}

/// Entries that failed alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failures {
    pub(crate) count: u64,
    /// When the first of them was told, since the begin of the phase.
    pub(crate) first: Duration,
    /// Surely not stored: it may be proposed again.
    pub(crate) refused: bool,
}

/// What the proposers write down.
struct Taken {
    stop: AtomicBool,
    failures: Mutex<BTreeMap<String, (u64, Instant, bool)>>,
    micros: Mutex<Histogram<u64>>,
}

const POISONED: &str = "nobody panics with it";

impl Taken {
    async fn propose(&self, leader: &Replica, payload: Bytes, due: Instant) {
        if let Err(error) = leader.propose(payload, 1).await {
            let mut failures = self.failures.lock().expect(POISONED);
            let refused = error.surely_not_stored();
            failures.entry(error.to_string()).or_insert((0, Instant::now(), refused)).0 += 1;
            return;
        }
        let micros = u64::try_from(due.elapsed().as_micros()).expect("a run is short");
        self.micros.lock().expect(POISONED).record(micros).expect("the histogram grows");
    }
}

/// Running proposers.
pub(crate) struct Load {
    taken: Arc<Taken>,
    began: Instant,
    proposers: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(leader: &Replica, pace: Pace, size: usize) -> Load {
        let micros = Mutex::new(Histogram::new(3).expect("three digits"));
        let taken = Arc::new(Taken { stop: AtomicBool::new(false), failures: Mutex::default(), micros });
        let payload = Bytes::from(vec![9; size]);
        let begin = || (leader.clone(), payload.clone(), taken.clone());
        let proposers = match pace {
            Pace::Closed(proposers) => (0..proposers).map(|_| tokio::spawn(closed(begin()))).collect(),
            Pace::Open(rate) => vec![tokio::spawn(open(begin(), rate))],
        };
        Load { taken, began: Instant::now(), proposers }
    }

    /// What happened since the begin, or since the last time.
    pub(crate) fn take(&mut self) -> Measured {
        let began = std::mem::replace(&mut self.began, Instant::now());
        let lasting = began.elapsed();
        let failures = std::mem::take(&mut *self.taken.failures.lock().expect(POISONED));
        let told = |(reason, (count, first, refused)): (String, (u64, Instant, bool))| {
            (reason, Failures { count, first: first.saturating_duration_since(began), refused })
        };
        let mut micros = self.taken.micros.lock().expect(POISONED);
        let measured = Measured {
            rate: micros.len() as f64 / lasting.as_secs_f64(),
            p50_ms: micros.value_at_quantile(0.5) as f64 / 1e3,
            p99_ms: micros.value_at_quantile(0.99) as f64 / 1e3,
            max_ms: micros.max() as f64 / 1e3,
            failures: failures.into_iter().map(told).collect(),
        };
        micros.reset();
        measured
    }

    pub(crate) async fn stop(self) {
        self.taken.stop.store(true, Relaxed);
        for proposer in self.proposers {
            proposer.await.expect("a proposer ends");
        }
    }
}

type Begin = (Replica, Bytes, Arc<Taken>);

async fn closed((leader, payload, taken): Begin) {
    while !taken.stop.load(Relaxed) {
        taken.propose(&leader, payload.clone(), Instant::now()).await;
    }
}

async fn open((leader, payload, taken): Begin, rate: f64) {
    let (begin, mut sent, mut waiting) = (Instant::now(), 0_u64, JoinSet::new());
    while !taken.stop.load(Relaxed) {
        let due = (begin.elapsed().as_secs_f64() * rate) as u64;
        for number in sent..due {
            let at = begin + Duration::from_secs_f64(number as f64 / rate);
            let (leader, payload, taken) = (leader.clone(), payload.clone(), taken.clone());
            waiting.spawn(async move { taken.propose(&leader, payload, at).await });
        }
        sent = due;
        while waiting.try_join_next().is_some() {}
        tokio::time::sleep(TICK).await;
    }
    while waiting.join_next().await.is_some() {}
}
