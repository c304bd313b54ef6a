//! How long a state with a million queues takes to open, and what it holds in memory then.

use std::time::Instant;

use crate::bench::{Bench, publish, resident_bytes};

const TOPICS: u32 = 250;
const QUEUES: u32 = 4000;

pub(crate) fn run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut bench = Bench::new(folder.path());
    for number in 0..TOPICS {
        let topic = bench.topic(&format!("bench-{number}"), QUEUES);
        bench.many((0..QUEUES).map(|queue| publish(topic, queue, 2)));
    }
    drop(bench);
    let (resident, begun) = (resident_bytes(), Instant::now());
    let bench = Bench::new(folder.path());
    let queues: usize = bench.state.reader().topics().len() * QUEUES as usize;
    println!(
        "a state with {queues} queues opens in {:?}, {} MiB resident, {} MiB before",
        begun.elapsed(),
        resident_bytes() >> 20,
        resident >> 20
    );
}
