//! What retention took, what holds the log against it, how often the state was persisted, what it keeps of producers and
//! at which feature level it is, read from it at each scrape.

use std::fmt;

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::replica::{counter, gauge};
use crate::state::{Counts, Level, StateReader};

/// Counters of the state.
#[derive(Debug)]
pub struct RetentionCollector {
    state: StateReader,
}

impl RetentionCollector {
    /// Reads from this state whenever it is asked.
    #[must_use]
    pub fn new(state: StateReader) -> RetentionCollector {
        RetentionCollector { state }
    }
}

impl Collector for RetentionCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counters = self.state.counters();
        let help = "Messages that retention took out of their queues";
        counter(&mut encoder, "tercet_trimmed_messages", help, counters.trimmed)?;
        let help = "Messages that retention took before a consumer group had received them, for each such group";
        counter(&mut encoder, "tercet_expired_unread_messages", help, counters.expired_unread)?;
        let help = "Bodies that were moved to the end of the log because they were still needed";
        counter(&mut encoder, "tercet_relocated_messages", help, counters.relocated)?;
        let Counts { deliveries, dead_letters } = self.state.held_back().map(|held| held.counts).unwrap_or_default();
        let help =
            "Messages that consumer groups have taken and not finished and that hold the log against retention now";
        gauge(&mut encoder, "tercet_log_held_by_deliveries", help, deliveries)?;
        let help = "Dead letters that hold the log against retention now";
        gauge(&mut encoder, "tercet_log_held_by_dead_letters", help, dead_letters)?;
        let help = "About how many bytes of the log retention would let go of now, were nothing of it needed";
        gauge(&mut encoder, "tercet_log_held_bytes", help, self.state.held_bytes())?;
        let help = "How often the state was persisted, checkpoints included";
        counter(&mut encoder, "tercet_state_flushes", help, counters.flushes)?;
        let help = "Messages that consumer groups have taken and not finished";
        gauge(&mut encoder, "tercet_pending_deliveries", help, self.state.pending() as u64)?;
        let help = "Feature level of the group, as far as this node has applied";
        gauge(&mut encoder, "tercet_feature_level", help, u64::from(self.state.level().number()))?;
        let help = "Highest feature level that this program knows";
        gauge(&mut encoder, "tercet_feature_level_newest", help, u64::from(Level::NEWEST.number()))?;
        let producers = self.state.producers();
        let help = "Idempotent producers that are remembered, each counted once per topic";
        gauge(&mut encoder, "tercet_producers", help, producers.count as u64)?;
        let help = "Memory for the results of idempotent producers";
        gauge(&mut encoder, "tercet_producer_results_bytes", help, producers.results_bytes as u64)
    }
}
