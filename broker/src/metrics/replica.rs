//! The replica's own state, read at each scrape.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
};
use raft_log::{Role, Status, types::LogId};
use tokio::sync::watch;

const ROLES: [Role; 6] = [Role::Unformed, Role::Learner, Role::Follower, Role::Candidate, Role::Leader, Role::Stopped];

/// Term, role and positions of a replica.
#[derive(Debug)]
pub struct ReplicaCollector {
    status: watch::Receiver<Status>,
}

impl ReplicaCollector {
    /// Reads from this status whenever it is asked.
    #[must_use]
    pub fn new(status: watch::Receiver<Status>) -> ReplicaCollector {
        ReplicaCollector { status }
    }
}

fn index(id: Option<LogId>) -> u64 {
    id.map_or(0, |id| id.index.0)
}

impl Collector for ReplicaCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let status = self.status.borrow().clone();
        let (last, committed, applied) = (index(status.last), index(status.committed), index(status.applied));
        let durable = status.durable.map_or(0, |index| index.0);
        let gauges: [(&str, &str, u64); 7] = [
            ("tercet_term", "Raft term", status.term.0),
            ("tercet_last_index", "Last entry of the log", last),
            ("tercet_durable_index", "Last entry that is on this disk for sure", durable),
            ("tercet_committed_index", "Last entry known to be committed", committed),
            ("tercet_applied_index", "Last entry in the state", applied),
            ("tercet_commit_lag", "Entries in the log that are not committed yet", last.saturating_sub(committed)),
            ("tercet_apply_lag", "Committed entries that are not in the state yet", committed.saturating_sub(applied)),
        ];
        for (name, help, value) in gauges {
            gauge(&mut encoder, name, help, value)?;
        }
        gauge(&mut encoder, "tercet_serving", "Whether this node leads and serves", u64::from(status.serving))?;
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut roles = encoder.encode_descriptor("tercet_role", "1 for the role that this node has", None, kind)?;
        for role in ROLES {
            let value = i64::from(status.role == role);
            ConstGauge::new(value).encode(roles.encode_family(&[("role", role.name())])?)?;
        }
        Ok(())
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), std::fmt::Error> {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

#[cfg(test)]
mod tests {
    use raft_log::{
        Health,
        types::{LogIndex, NodeId, Term},
    };

    use super::*;
    use crate::metrics::{Exposition, NodeLabels};

    #[test]
    fn role_term_and_lag_are_read_when_asked() {
        let id = |index| Some(LogId { term: Term(7), index: LogIndex(index) });
        let status = Status {
            node_id: NodeId(1),
            cluster: None,
            role: Role::Leader,
            term: Term(7),
            leader: Some(NodeId(1)),
            last: id(110),
            committed: id(100),
            applied: id(98),
            durable: Some(LogIndex(105)),
            members: Vec::new(),
            serving: true,
            health: Health::Healthy,
        };
        let (sender, receiver) = watch::channel(status.clone());
        let labels = NodeLabels { cluster: "broker-1".into(), node_type: "broker", node_id: "1".into() };
        let exposition = Exposition::new(&labels, |registry| {
            registry.register_collector(Box::new(ReplicaCollector::new(receiver)));
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
        sender.send_replace(Status { role: Role::Follower, ..status });
        assert!(exposition.render().contains("role=\"follower\"} 1\n"));
    }
}
