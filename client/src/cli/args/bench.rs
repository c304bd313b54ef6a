//! `tercet bench`.

use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};

use super::messages::Topic;

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Publish as fast as the messages in flight allow, or at a fixed rate
    #[command(after_help = "\
Latency is the time from a message's send to its acknowledgement. With --rate the messages are
sent on a schedule, whatever the broker does, and latency counts from the time at which a message
should have been sent.
With -o json: {\"rate\", \"mb_per_s\", \"p50_us\", \"p99_us\", \"p999_us\", \"max_us\", \"failed\"}.

Example:
  tercet bench publish bench --size 1024 --in-flight 1024 --producers 4 --duration 10s -o json")]
    Publish(BenchPublish),
    /// Receive and acknowledge what is in the topic
    #[command(after_help = "\
Latency is the time from the receipt of a message to its acknowledgement; of messages that were
published with `bench publish --rate`, from the time at which they should have been sent to their
receipt (the clocks of both machines must agree). With -o json: as `bench publish`.

Example:
  tercet bench consume bench --consumers 4 --in-flight 1024 --duration 10s")]
    Consume(BenchConsume),
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct BenchPublish {
    #[command(flatten)]
    pub(crate) topic: Topic,
    /// Body of each message, in bytes
    #[arg(long, value_name = "BYTES", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=4 << 20))]
    pub(crate) size: u32,
    /// Unacknowledged messages at a time, over all producers
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) in_flight: u32,
    /// Producers, each with a connection of its own
    #[arg(long, value_name = "P", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) producers: u32,
    /// How long to measure
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// Messages a second over all producers, sent on schedule [default: as many as possible]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: Option<u32>,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct BenchConsume {
    #[command(flatten)]
    pub(crate) topic: Topic,
    /// Messages that are asked for ahead, over all consumers
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) in_flight: u32,
    /// Consumers, each with a connection of its own
    #[arg(long, alias = "producers", value_name = "C", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) consumers: u32,
    /// How long to measure
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// The consumer group; made if it does not exist
    #[arg(long, value_name = "GROUP", default_value = "tercet-bench")]
    pub(crate) group: String,
}
