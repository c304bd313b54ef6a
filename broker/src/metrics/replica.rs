//! The replica's own state, read at each scrape.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use raft_log::{Role, Status, storage::StorageStats, types::LogId};
use tokio::sync::watch;

const ROLES: [Role; 6] = [Role::Unformed, Role::Learner, Role::Follower, Role::Candidate, Role::Leader, Role::Stopped];

/// Reads the counters of the log's I/O.
pub type ReadStats = Box<dyn Fn() -> StorageStats + Send + Sync>;

/// Term, role, positions and disk work of a replica.
pub struct ReplicaCollector {
    status: watch::Receiver<Status>,
    stats: ReadStats,
}

impl ReplicaCollector {
    /// Reads from these whenever it is asked.
    #[must_use]
    pub fn new(status: watch::Receiver<Status>, stats: ReadStats) -> ReplicaCollector {
        ReplicaCollector { status, stats }
    }
}

impl fmt::Debug for ReplicaCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplicaCollector")
    }
}

fn index(id: Option<LogId>) -> u64 {
    id.map_or(0, |id| id.index.0)
}

impl Collector for ReplicaCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let status = self.status.borrow().clone();
        let (last, committed, applied) = (index(status.last), index(status.committed), index(status.applied));
        let durable = status.durable.map_or(0, |index| index.0);
        let gauges: [(&str, &str, u64); 9] = [
            ("tercet_term", "Raft term", status.term.0),
            ("tercet_last_index", "Last entry of the log", last),
            ("tercet_durable_index", "Last entry that is on this disk for sure", durable),
            ("tercet_committed_index", "Last entry known to be committed", committed),
            ("tercet_applied_index", "Last entry in the state", applied),
            ("tercet_purged_index", "Last entry that is purged", index(status.purged)),
            ("tercet_checkpoint_index", "Entry of the newest kept checkpoint", index(status.checkpoint)),
            ("tercet_commit_lag", "Entries in the log that are not committed yet", last.saturating_sub(committed)),
            ("tercet_apply_lag", "Committed entries that are not in the state yet", committed.saturating_sub(applied)),
        ];
        for (name, help, value) in gauges {
            gauge(&mut encoder, name, help, value)?;
        }
        gauge(&mut encoder, "tercet_serving", "Whether this node leads and serves", u64::from(status.serving))?;
        let gated = u64::from(!status.gate.is_empty());
        gauge(&mut encoder, "tercet_vote_gate", "Whether this node keeps out of elections; status says why", gated)?;
        clocks(&mut encoder, &status)?;
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut roles = encoder.encode_descriptor("tercet_role", "1 for the role that this node has", None, kind)?;
        for role in ROLES {
            let value = i64::from(status.role == role);
            ConstGauge::new(value).encode(roles.encode_family(&[("role", role.name())])?)?;
        }
        storage(&mut encoder, &(self.stats)())
    }
}

/// How far the members' clocks are off, which a leader knows, and whether age retention trusts them (hazards 19).
fn clocks(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> Result<(), fmt::Error> {
    let paused = u64::from(status.age_pause.is_some());
    let help = "Whether nothing goes by age, because clocks cannot be trusted; status says why";
    gauge(encoder, "tercet_age_retention_paused", help, paused)?;
    let kind = ConstGauge::new(0_f64).metric_type();
    let help = "Seconds by which the clock of a member is ahead of the median; known on the leader";
    let mut errors = encoder.encode_descriptor("tercet_clock_error_seconds", help, None, kind)?;
    for member in &status.members {
        if let Some(error_ms) = member.clock_error_ms {
            let id = member.id.to_string();
            ConstGauge::new(error_ms as f64 / 1e3).encode(errors.encode_family(&[("member", id.as_str())])?)?;
        }
    }
    Ok(())
}

fn storage(encoder: &mut DescriptorEncoder<'_>, stats: &StorageStats) -> Result<(), fmt::Error> {
    counter(encoder, "tercet_log_writes", "Batches of entries written to the log", stats.batches)?;
    counter(encoder, "tercet_log_entries", "Entries written to the log", stats.records)?;
    counter(encoder, "tercet_log_bytes", "Bytes written to the log", stats.bytes_written)?;
    counter(encoder, "tercet_log_cold_reads", "Entries read from files, not from memory", stats.reads_from_files)?;
    counter(encoder, "tercet_log_repairs", "Damaged ranges that were repaired from peers", stats.repaired_ranges)?;
    counter(encoder, "tercet_log_scrubbed_bytes", "Bytes of old log files read to find damage", stats.scrubbed_bytes)?;
    gauge(encoder, "rocketmq_storage_size", "Bytes that the files of the log take on disk", stats.log_bytes)?;
    gauge(encoder, "rocketmq_storage_flush_behind_bytes", "Bytes of entries not yet written", stats.unwritten_bytes)?;
    let mut buckets: Vec<(f64, u64)> = stats
        .sync_micros_log2
        .iter()
        .enumerate()
        .map(|(power, count)| (2_f64.powi(power as i32) / 1e6, *count))
        .collect();
    // The last bucket takes whatever is longer than the others.
    if let Some(last) = buckets.last_mut() {
        last.0 = f64::INFINITY;
    }
    let help = "Seconds that a sync of the log took";
    let mut histogram = encoder.encode_descriptor("tercet_fsync_seconds", help, None, MetricType::Histogram)?;
    histogram.encode_histogram::<NoLabelSet>(stats.sync_nanos as f64 / 1e9, stats.syncs, &buckets, None)
}

pub(super) fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), fmt::Error> {
    let counter = ConstCounter::new(value);
    counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
}

pub(super) fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

#[cfg(test)]
mod tests {
    use raft_log::types::{LogIndex, NodeId, Term};

    use super::*;
    use crate::metrics::{Exposition, NodeLabels};

    #[test]
    fn role_term_and_lag_are_read_when_asked() {
        let id = |index| Some(LogId { term: Term(7), index: LogIndex(index) });
        let status = Status {
            role: Role::Leader,
            term: Term(7),
            leader: Some(NodeId(1)),
            last: id(110),
            committed: id(100),
            applied: id(98),
            durable: Some(LogIndex(105)),
            serving: true,
            ..Status::unformed(NodeId(1))
        };
        let (sender, receiver) = watch::channel(status.clone());
        let stats = || {
            let mut sync_micros_log2 = [0; StorageStats::BUCKETS];
            (sync_micros_log2[9], sync_micros_log2[10]) = (3, 4);
            StorageStats { syncs: 7, sync_nanos: 5_000_000, sync_micros_log2, ..StorageStats::default() }
        };
        let labels = NodeLabels { cluster: "broker-1".into(), node_type: "broker", node_id: "1".into() };
        let exposition = Exposition::new(&labels, |registry| {
            registry.register_collector(Box::new(ReplicaCollector::new(receiver, Box::new(stats))));
        });
        let line = |name: &str, value: u64| format!("{name} {value}");
        let text = exposition.render().replace("{cluster=\"broker-1\",node_type=\"broker\",node_id=\"1\"}", "");
        for wanted in [
            line("tercet_term", 7),
            line("tercet_commit_lag", 10),
            line("tercet_apply_lag", 2),
            line("tercet_durable_index", 105),
            line("tercet_serving", 1),
        ] {
            assert!(text.contains(&format!("{wanted}\n")), "{wanted} is missing in\n{text}");
        }
        assert!(text.contains("role=\"leader\"} 1\n") && text.contains("role=\"follower\"} 0\n"), "{text}");
        let text = text.replace("cluster=\"broker-1\",node_type=\"broker\",node_id=\"1\"", "");
        assert!(text.contains("tercet_fsync_seconds_bucket{,le=\"0.000512\"} 3\n"), "{text}");
        assert!(text.contains("tercet_fsync_seconds_bucket{,le=\"0.001024\"} 7\n"), "cumulative: {text}");
        assert!(text.contains("tercet_fsync_seconds_sum 0.005\n"), "{text}");
        assert!(text.contains("tercet_fsync_seconds_bucket{,le=\"+Inf\"} 7\n"), "{text}");
        sender.send_replace(Status { role: Role::Follower, ..status });
        assert!(exposition.render().contains("role=\"follower\"} 1\n"));
    }
}
