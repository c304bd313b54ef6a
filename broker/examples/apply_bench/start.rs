//! How long a state with a million queues takes to open, and what it holds in memory then.

use std::path::Path;
use std::process::Command;
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
    // In a process of its own, whose memory is that of the state alone.
    let program = std::env::current_exe().expect("it runs");
    let opened = Command::new(program).arg(OPEN).arg(folder.path()).status().expect("it starts");
    assert!(opened.success(), "{opened}");
}

/// The part that opens a state which is there, and says what it took.
pub(crate) const OPEN: &str = "open";

pub(crate) fn open(folder: &Path) {
    let (resident, begun) = (resident_bytes(), Instant::now());
    let bench = Bench::new(folder);
    let took = begun.elapsed();
    let topics = bench.state.reader().topics().len();
    let held = resident_bytes().saturating_sub(resident);
    println!("a state with {} queues opens in {took:?} and holds {} MiB", topics * QUEUES as usize, held >> 20);
}
