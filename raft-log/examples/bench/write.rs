//! One load on a healthy group: `--conc` proposers in a closed loop, or `--rate` entries a second in an open one.

use std::time::Duration;

use crate::arguments::Arguments;
use crate::group::Group;
use crate::load::{Load, Pace};

pub(crate) async fn run(arguments: &Arguments) {
    let conc: usize = arguments.get("conc", 1024);
    let rate: f64 = arguments.get("rate", 0.0);
    let size: usize = arguments.get("size", 1024);
    let secs: f64 = arguments.get("secs", 5.0);
    let group = Group::open(arguments).await;
    let leader = group.replica(group.leader().await).clone();
    let pace = if rate > 0.0 { Pace::Open(rate) } else { Pace::Closed(conc) };
    let mut load = Load::start(&leader, pace, size);
    tokio::time::sleep(Duration::from_secs(arguments.get("warm-secs", 1))).await;
    let before = leader.storage_stats();
    load.take();
    tokio::time::sleep(Duration::from_secs_f64(secs)).await;
    let measured = load.take();
    let after = leader.storage_stats();
    load.stop().await;
    assert!(measured.failures.is_empty(), "a healthy group stores: {:?}", measured.failures);
    let (syncs, records) = (after.syncs - before.syncs, after.records - before.records);
    println!(
        "{{\"load\": \"{pace}\", \"size\": {size}, \"rate\": {:.0}, \"mb_per_s\": {:.1}, \"p50_us\": {:.0}, \"p99_us\": {:.0}, \
         \"max_us\": {:.0}, \"syncs_per_s\": {:.0}, \"records_per_sync\": {:.1}, \"sync_us\": {:.0}}}",
        measured.rate,
        measured.rate * size as f64 / 1e6,
        measured.p50_ms * 1e3,
        measured.p99_ms * 1e3,
        measured.max_ms * 1e3,
        syncs as f64 / secs,
        records as f64 / syncs.max(1) as f64,
        (after.sync_nanos - before.sync_nanos) as f64 / 1e3 / syncs.max(1) as f64,
    );
}
