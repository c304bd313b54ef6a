//! Counts dead letters for the metric: once over all nodes, on the one that led when they were proposed.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use raft_log::types::Term;

use crate::{
    forward::Leadership,
    metrics::Traffic,
    state::{DeadLettered, StateReader},
};

/// Counts for as long as it is polled.
pub async fn count_dead_letters(state: StateReader, leadership: Arc<Leadership>, traffic: Traffic) {
    // The last term that this node led; terms begin at 1.
    let led = AtomicU64::new(0);
    let lead = async {
        loop {
            let term = leadership.gained().await;
            led.store(term.0, Ordering::Relaxed);
            leadership.lost(term).await;
        }
    };
    let count = async {
        loop {
            let counts = state.dead_letter_tally().taken().await;
            record(&state, &traffic, &counts, Term(led.load(Ordering::Relaxed)));
        }
    };
    tokio::join!(biased; lead, count);
}

fn record(state: &StateReader, traffic: &Traffic, counts: &DeadLettered, led: Term) {
    for ((term, topic, group), messages) in counts {
        // Names of what exists: labels are bounded by that.
        let names = state.topic_by_id(*topic).zip(state.group_by_id(*group));
        if let (true, Some((topic, group))) = (*term == led, names) {
            traffic.dead_lettered(topic.name.as_str(), group.name.as_str(), *messages);
        }
    }
}
