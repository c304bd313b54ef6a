//! Settings: plain values with bounds, checked once when a client, producer or consumer is made.

use std::{ops::RangeInclusive, time::Duration};

use crate::{endpoint::Endpoint, error::Error};

/// Settings of a [`Client`](crate::Client).
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Client addresses of nodes; any one is enough, the others are learned. May be empty if `nameservers` is not.
    pub endpoints: Vec<Endpoint>,
    /// Nameservers, asked for routes in addition to the nodes. Default: none.
    pub nameservers: Vec<Endpoint>,
    /// How long a connection may take to come about. Default 1 s, 10 ms to 1 min.
    pub connect_timeout: Duration,
    /// How long an answer may take before the next node is asked. Default 3 s, 10 ms to 1 min.
    pub attempt_timeout: Duration,
    /// How long a call other than a publish is retried in all. Default 15 s, 10 ms to 1 h.
    pub call_timeout: Duration,
    /// Routes older than this are asked for again while they are in use. Default 30 s, 100 ms to 1 h.
    pub route_refresh_interval: Duration,
}

impl ClientOptions {
    /// The defaults, with these endpoints.
    #[must_use]
    pub fn new(endpoints: Vec<Endpoint>) -> Self {
        Self {
            endpoints,
            nameservers: Vec::new(),
            connect_timeout: Duration::from_secs(1),
            attempt_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(15),
            route_refresh_interval: Duration::from_secs(30),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.endpoints.is_empty() && self.nameservers.is_empty() {
            return refuse("endpoints", "neither an endpoint nor a nameserver is given");
        }
        let minute = Duration::from_secs(60);
        let shortest = Duration::from_millis(10);
        within("connect_timeout", self.connect_timeout, shortest..=minute)?;
        within("attempt_timeout", self.attempt_timeout, shortest..=minute)?;
        within("call_timeout", self.call_timeout, shortest..=Duration::from_secs(3600))?;
        within(
            "route_refresh_interval",
            self.route_refresh_interval,
            Duration::from_millis(100)..=Duration::from_secs(3600),
        )
    }
}

/// Settings of a [`Producer`](crate::Producer).
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// How long a message is tried before its outcome is refused (never sent) or unknown. Default 30 s, 10 ms to 10 min
    /// (a broker remembers a silent producer for longer than that).
    pub send_timeout: Duration,
    /// Bytes of unfinished messages that the producer holds; a send waits for room beyond it. Default 64 MiB, 8 MiB
    /// to 1 GiB (so that the largest message always fits).
    pub buffer_bytes_max: usize,
    /// Messages in one request. Default 512, 1 to 1,024.
    pub batch_messages_max: usize,
    /// Bytes in one request, more only if a single message has more. Default 1 MiB, 1 KiB to 4 MiB; brokers take
    /// 8 MiB.
    pub batch_bytes_max: usize,
    /// Requests in flight for one topic; FIFO lanes have one each regardless. Default 4, 1 to 4 (together with
    /// `batch_messages_max` it bounds the unfinished sequences, which must fit the broker's memory of results).
    pub requests_in_flight_max: usize,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            send_timeout: Duration::from_secs(30),
            buffer_bytes_max: 64 << 20,
            batch_messages_max: 512,
            batch_bytes_max: 1 << 20,
            requests_in_flight_max: 4,
        }
    }
}

impl ProducerOptions {
    pub(crate) fn check(&self) -> Result<(), Error> {
        within("send_timeout", self.send_timeout, Duration::from_millis(10)..=Duration::from_secs(600))?;
        within("buffer_bytes_max", self.buffer_bytes_max, 8 << 20..=1 << 30)?;
        within("batch_messages_max", self.batch_messages_max, 1..=1024)?;
        within("batch_bytes_max", self.batch_bytes_max, 1 << 10..=4 << 20)?;
        within("requests_in_flight_max", self.requests_in_flight_max, 1..=4)
    }
}

/// Settings of a [`Consumer`](crate::Consumer).
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// How long a delivered message stays hidden from the group until it is acknowledged. Default 30 s, 10 s to 12 h. At least
    /// half of it is left when the application gets the message.
    pub invisible_duration: Duration,
    /// Tags of the messages that are wanted, as `a || b`. Default: empty, all messages. The group is done with the others.
    pub filter: String,
    /// Messages of one topic that are on their way or wait for the application. Default 2,048, 1 to 16,384.
    pub prefetch_messages: u64,
    /// Bytes of them; more only if a single message has more. Default 16 MiB, 64 KiB to 32 MiB.
    pub prefetch_bytes: u64,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            invisible_duration: Duration::from_secs(30),
            filter: String::new(),
            prefetch_messages: 2048,
            prefetch_bytes: 16 << 20,
        }
    }
}

impl ConsumerOptions {
    pub(crate) fn check(&self) -> Result<(), Error> {
        within(
            "invisible_duration",
            self.invisible_duration,
            Duration::from_secs(10)..=Duration::from_secs(12 * 3600),
        )?;
        within("prefetch_messages", self.prefetch_messages, 1..=16_384)?;
        within("prefetch_bytes", self.prefetch_bytes, 64 << 10..=32 << 20)
    }
}

fn within<T: PartialOrd + std::fmt::Debug>(
    name: &'static str,
    value: T,
    bounds: RangeInclusive<T>,
) -> Result<(), Error> {
    if bounds.contains(&value) {
        return Ok(());
    }
    refuse(name, format!("{value:?} is not within {:?} to {:?}", bounds.start(), bounds.end()))
}

fn refuse(name: &'static str, problem: impl Into<String>) -> Result<(), Error> {
    Err(Error::Setting { name, problem: problem.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_their_bounds() {
        ClientOptions::new(Endpoint::parse_list("a:1").unwrap()).check().unwrap();
        ProducerOptions::default().check().unwrap();
        ConsumerOptions::default().check().unwrap();
    }

    #[test]
    fn a_setting_out_of_bounds_is_named() {
        let error = ProducerOptions { batch_messages_max: 0, ..Default::default() }.check().unwrap_err();
        assert_eq!(error.to_string(), "bad setting batch_messages_max: 0 is not within 1 to 1024");
        assert!(!error.can_retry());
        let error = ClientOptions::new(Vec::new()).check().unwrap_err();
        assert!(error.to_string().contains("endpoints"));
    }

    #[test]
    fn unfinished_sequences_fit_the_broker_s_memory_of_results() {
        let bounds = ProducerOptions { batch_messages_max: 1024, requests_in_flight_max: 4, ..Default::default() };
        bounds.check().unwrap();
        assert!(
            (bounds.batch_messages_max * bounds.requests_in_flight_max) as u64
                <= tercet_proto::limits::SEQUENCE_SPAN_MAX
        );
    }
}
