//! Closed loop: `conc` proposers, each waiting for its entry before the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;

use crate::Arguments;
use crate::group::Group;

pub(crate) async fn run(arguments: &Arguments) {
    let conc: usize = arguments.get("conc", 1024);
    let size: usize = arguments.get("size", 1024);
    let secs: f64 = arguments.get("secs", 5.0);
    let group = Group::open(arguments).await;
    let leader = group.replica(group.leader().await).clone();
    let payload: Bytes = (0..size).map(|i| (i * 31 + i / 7) as u8).collect();
    let (recording, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let proposers: Vec<_> = (0..conc)
        .map(|_| {
            let (leader, payload) = (leader.clone(), payload.clone());
            let (recording, stop) = (recording.clone(), stop.clone());
            tokio::spawn(async move {
                let mut latencies = Histogram::<u64>::new(3).expect("three digits");
                while !stop.load(Relaxed) {
                    let start = Instant::now();
                    leader.propose(payload.clone(), 1).await.expect("a healthy group stores");
                    if recording.load(Relaxed) {
                        let micros = u64::try_from(start.elapsed().as_micros()).expect("a run is short");
                        latencies.record(micros).expect("the histogram grows");
                    }
                }
                latencies
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(arguments.get("warm-secs", 1))).await;
    let before = leader.storage_stats();
    recording.store(true, Relaxed);
    tokio::time::sleep(Duration::from_secs_f64(secs)).await;
    recording.store(false, Relaxed);
    let after = leader.storage_stats();
    stop.store(true, Relaxed);
    let mut all = Histogram::<u64>::new(3).expect("three digits");
    for proposer in proposers {
        all.add(proposer.await.expect("a proposer ends")).expect("the same shape");
    }
    let rate = all.len() as f64 / secs;
    let (syncs, records) = (after.syncs - before.syncs, after.records - before.records);
    println!(
        "{{\"conc\": {conc}, \"size\": {size}, \"rate\": {rate:.0}, \"mb_per_s\": {:.1}, \"p50_us\": {}, \"p99_us\": {}, \
         \"max_us\": {}, \"syncs_per_s\": {:.0}, \"records_per_sync\": {:.1}, \"sync_us\": {:.0}}}",
        rate * size as f64 / 1e6,
        all.value_at_quantile(0.5),
        all.value_at_quantile(0.99),
        all.max(),
        syncs as f64 / secs,
        records as f64 / syncs.max(1) as f64,
        (after.sync_nanos - before.sync_nanos) as f64 / 1e3 / syncs.max(1) as f64,
    );
}
