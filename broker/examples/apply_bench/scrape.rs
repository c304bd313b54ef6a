//! What a scrape of backlogs takes beside many consumer groups: while they are idle, while they lag, and while all of them move.

use std::sync::Arc;
use std::time::Instant;

use raft_log::env::sim::ManualClock;
use raft_log::types::UnixMillis;
use tercet_broker::metrics::{BacklogCollector, BacklogSources, Exposition, NodeLabels};

use crate::bench::{Bench, publish, receive};

const GROUPS: u32 = 10_000;
const QUEUES: u32 = 4;

pub(crate) fn run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut bench = Bench::new(folder.path());
    let topic = bench.topic("bench", QUEUES);
    let groups: Vec<_> = (0..GROUPS).map(|number| bench.group(&format!("group-{number}"), 17)).collect();
    bench.many(groups.iter().map(|group| receive(topic, *group, 1, 60_000).encode()));
    for shown_max in [2_000, GROUPS as usize] {
        scrape(&bench, shown_max, "idle");
    }
    bench.many((0..QUEUES).map(|queue| publish(topic, queue, 100)));
    scrape(&bench, 2_000, "behind, at the same place");
    // Each takes another number: all places differ.
    bench.many(
        groups.iter().enumerate().map(|(at, group)| receive(topic, *group, 1 + at as u32 % 300, 60_000).encode()),
    );
    scrape(&bench, 2_000, "behind, each elsewhere");
}

/// A first scrape, and one after it.
fn scrape(bench: &Bench, shown_max: usize, what: &str) {
    let (clock, time) = (Arc::new(ManualClock::new()), bench.now);
    let sources = BacklogSources {
        serving: Box::new(|| true),
        now: Box::new(move || UnixMillis(time.0)),
        clock: Arc::<ManualClock>::clone(&clock),
    };
    let collector = BacklogCollector::new(bench.state.reader(), sources, shown_max);
    let labels = NodeLabels { cluster: "broker-1".to_owned(), node_type: "broker", node_id: "1".to_owned() };
    let exposition = Exposition::new(&labels, |registry| registry.register_collector(Box::new(collector)));
    let mut took = Vec::new();
    let mut bytes = 0;
    for _ in 0..3 {
        let begun = Instant::now();
        bytes = exposition.render().len();
        took.push(begun.elapsed());
        // Another look.
        clock.advance(std::time::Duration::from_secs(60));
    }
    println!("{GROUPS} groups {what}: {shown_max} shown, {} KiB, scrapes took {took:.1?}", bytes >> 10);
}
