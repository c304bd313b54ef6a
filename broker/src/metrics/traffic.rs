//! Counters of what clients do.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InLabels {
    topic: String,
    message_type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutLabels {
    topic: String,
    consumer_group: String,
    is_retry: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RpcLabels {
    rpc: &'static str,
    code: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ClassLabels {
    class: &'static str,
}

/// Counters that the RPCs write. Cheap to clone: clones count together.
///
/// Labels name topics and groups, so callers pass only those that exist: junk from clients would grow the set without
/// bound.
#[derive(Clone, Debug)]
pub struct Traffic {
    messages_in: Family<InLabels, Counter>,
    throughput_in: Family<InLabels, Counter>,
    messages_out: Family<OutLabels, Counter>,
    throughput_out: Family<OutLabels, Counter>,
    dead_lettered: Family<OutLabels, Counter>,
    unreadable: Family<OutLabels, Counter>,
    message_size: Histogram,
    rpc_latency: Family<RpcLabels, Histogram>,
    batch_messages: Histogram,
    batch_bytes: Histogram,
    batch_latency: Histogram,
    line_latency: Family<ClassLabels, Histogram>,
    pending_bytes: Family<ClassLabels, Gauge>,
    parked_receives: Gauge,
    unconfirmed_deliveries: Gauge,
}

fn latency_buckets() -> Histogram {
    // 0.1 ms to 26 s.
    Histogram::new(exponential_buckets(0.000_1, 2.0, 19))
}

fn size_buckets() -> Histogram {
    // 64 B to 16 MiB.
    Histogram::new(exponential_buckets(64.0, 4.0, 10))
}

impl Default for Traffic {
    fn default() -> Self {
        Traffic {
            messages_in: Family::default(),
            throughput_in: Family::default(),
            messages_out: Family::default(),
            throughput_out: Family::default(),
            dead_lettered: Family::default(),
            unreadable: Family::default(),
            message_size: size_buckets(),
            rpc_latency: Family::new_with_constructor(latency_buckets),
            batch_messages: Histogram::new(exponential_buckets(1.0, 2.0, 14)),
            batch_bytes: size_buckets(),
            batch_latency: latency_buckets(),
            line_latency: Family::new_with_constructor(latency_buckets),
            pending_bytes: Family::default(),
            parked_receives: Gauge::default(),
            unconfirmed_deliveries: Gauge::default(),
        }
    }
}

impl Traffic {
    /// Messages of a topic were stored; `bytes` are those of their bodies.
    pub fn published(&self, topic: &str, message_type: &'static str, messages: u64, bytes: u64) {
        let labels = InLabels { topic: topic.to_owned(), message_type };
        self.messages_in.get_or_create(&labels).inc_by(messages);
        self.throughput_in.get_or_create(&labels).inc_by(bytes);
        if let Some(mean) = bytes.checked_div(messages) {
            self.message_size.observe(mean as f64);
        }
    }

    /// Messages were delivered to a group; `redelivered` if not for the first time.
    pub fn delivered(&self, topic: &str, group: &str, redelivered: bool, messages: u64, bytes: u64) {
        let labels = out_labels(topic, group, redelivered);
        self.messages_out.get_or_create(&labels).inc_by(messages);
        self.throughput_out.get_or_create(&labels).inc_by(bytes);
    }

    /// Messages of a group went to its dead-letter queue.
    pub fn dead_lettered(&self, topic: &str, group: &str, messages: u64) {
        self.dead_lettered.get_or_create(&out_labels(topic, group, true)).inc_by(messages);
    }

    /// A delivery to a group was set aside because its message could not be read.
    pub fn unreadable(&self, topic: &str, group: &str, redelivered: bool) {
        self.unreadable.get_or_create(&out_labels(topic, group, redelivered)).inc();
    }

    /// An RPC was answered with this code.
    pub fn answered(&self, rpc: &'static str, code: u32, after: Duration) {
        self.rpc_latency.get_or_create(&RpcLabels { rpc, code }).observe(after.as_secs_f64());
    }

    /// A batch was proposed as one log entry.
    pub fn batch_proposed(&self, messages: u64, bytes: u64) {
        self.batch_messages.observe(messages as f64);
        self.batch_bytes.observe(bytes as f64);
    }

    /// A batch was answered so long after it was proposed.
    pub fn batch_answered(&self, after: Duration) {
        self.batch_latency.observe(after.as_secs_f64());
    }

    /// The first command of a class in a batch waited for it so long.
    pub fn waited_in_line(&self, class: &'static str, time: Duration) {
        self.line_latency.get_or_create(&ClassLabels { class }).observe(time.as_secs_f64());
    }

    /// Commands of a class hold so many bytes while they wait to be stored, all clients together.
    pub fn pending_bytes(&self, class: &'static str, bytes: u64) {
        self.pending_bytes.get_or_create(&ClassLabels { class }).set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Receives that wait for a message.
    pub fn parked_receives(&self) -> &Gauge {
        &self.parked_receives
    }

    /// Messages that consume streams pushed and that have not arrived as far as is known.
    pub fn unconfirmed_deliveries(&self) -> &Gauge {
        &self.unconfirmed_deliveries
    }

    /// Puts all of it into a registry.
    pub fn register(&self, registry: &mut Registry) {
        let t = self.clone();
        registry.register("rocketmq_messages_in", "Messages stored", t.messages_in);
        registry.register("rocketmq_throughput_in", "Bytes of bodies stored", t.throughput_in);
        registry.register("rocketmq_messages_out", "Messages delivered", t.messages_out);
        registry.register("rocketmq_throughput_out", "Bytes of bodies delivered", t.throughput_out);
        registry.register("rocketmq_send_to_dlq_messages", "Messages sent to dead-letter queues", t.dead_lettered);
        registry.register("tercet_unreadable_messages", "Deliveries of messages that could not be read", t.unreadable);
        registry.register("rocketmq_message_size", "Bytes of a body, the mean of each request", t.message_size);
        registry.register("rocketmq_rpc_latency", "Seconds until an RPC was answered, by code", t.rpc_latency);
        registry.register("tercet_batch_messages", "Messages in one log entry", t.batch_messages);
        registry.register("tercet_batch_bytes", "Bytes of one log entry", t.batch_bytes);
        registry.register("tercet_batch_latency", "Seconds from proposing a log entry to its outcome", t.batch_latency);
        let help = "Seconds that the oldest command of a class waited for its log entry";
        registry.register("tercet_line_latency", help, t.line_latency);
        registry.register("tercet_pending_bytes", "Bytes that wait to be stored, by class of command", t.pending_bytes);
        registry.register("tercet_parked_receives", "Receives that wait for a message", t.parked_receives);
        let help = "Messages pushed on consume streams and not confirmed as arrived";
        registry.register("tercet_unconfirmed_deliveries", help, t.unconfirmed_deliveries);
    }
}

fn out_labels(topic: &str, group: &str, is_retry: bool) -> OutLabels {
    let is_retry = if is_retry { "true" } else { "false" };
    OutLabels { topic: topic.to_owned(), consumer_group: group.to_owned(), is_retry }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Exposition, NodeLabels};

    #[test]
    fn counters_appear_under_the_names_that_dashboards_know() {
        let traffic = Traffic::default();
        let labels = NodeLabels { cluster: "broker-1".into(), node_type: "broker", node_id: "3".into() };
        let exposition = Exposition::new(&labels, |registry| traffic.register(registry));
        traffic.published("orders", "NORMAL", 3, 3000);
        traffic.delivered("orders", "billing", true, 2, 2000);
        traffic.answered("SendMessage", 20_000, Duration::from_millis(3));
        let text = exposition.render();
        let node = "cluster=\"broker-1\",node_type=\"broker\",node_id=\"3\"";
        for line in [
            format!("rocketmq_messages_in_total{{{node},topic=\"orders\",message_type=\"NORMAL\"}} 3"),
            format!("rocketmq_throughput_in_total{{{node},topic=\"orders\",message_type=\"NORMAL\"}} 3000"),
            format!(
                "rocketmq_messages_out_total{{{node},topic=\"orders\",consumer_group=\"billing\",is_retry=\"true\"}} 2"
            ),
            format!("rocketmq_rpc_latency_count{{{node},rpc=\"SendMessage\",code=\"20000\"}} 1"),
        ] {
            assert!(text.contains(&line), "{line} is missing in\n{text}");
        }
    }
}
