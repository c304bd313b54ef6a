//! Kills the leader again and again, and measures the time from the kill to the next stored entry.
//!
//! With `--busy N`, N threads burn CPU beside the group; between the kills the term must not change, or an election
//! happened without cause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::arguments::Arguments;
use crate::group::Group;

pub(crate) async fn run(arguments: &Arguments) {
    let rounds: usize = arguments.get("rounds", 20);
    let quiet = Duration::from_millis(arguments.get("quiet-ms", 1_500));
    let stop = Arc::new(AtomicBool::new(false));
    let burners = burn(arguments.get("busy", 0), &stop);
    let mut group = Group::open(arguments).await;
    store(&group).await;
    let (mut gaps, mut spurious) = (Vec::new(), 0);
    for _ in 0..rounds {
        let leader = group.leader().await;
        let term = group.replica(leader).status().term;
        let until = Instant::now() + quiet;
        while Instant::now() < until {
            store(&group).await;
        }
        spurious += usize::from(group.leader().await != leader || group.replica(leader).status().term != term);
        let leader = group.leader().await;
        let start = Instant::now();
        group.kill(leader).await;
        store(&group).await;
        gaps.push(start.elapsed().as_millis());
        group.restart(leader).await;
    }
    stop.store(true, Relaxed);
    for burner in burners {
        burner.join().expect("a burner ends");
    }
    gaps.sort_unstable();
    println!(
        "{{\"rounds\": {rounds}, \"min_ms\": {}, \"median_ms\": {}, \"max_ms\": {}, \"elections_without_cause\": {spurious}}}",
        gaps[0],
        gaps[gaps.len() / 2],
        gaps[gaps.len() - 1],
    );
}

/// Stores one entry at whoever leads.
async fn store(group: &Group) {
    loop {
        let leader = group.leader().await;
        if group.replica(leader).propose(Bytes::from_static(&[7; 1024]), 1).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn burn(threads: usize, stop: &Arc<AtomicBool>) -> Vec<std::thread::JoinHandle<()>> {
    let burner = || {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let mut x = 1_u64;
            while !stop.load(Relaxed) {
                x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            }
        })
    };
    (0..threads).map(|_| burner()).collect()
}
