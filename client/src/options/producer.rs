//! Settings of a producer.

use std::time::Duration;

use super::within;
use crate::error::Error;

/// Settings of a [`Producer`](crate::Producer).
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    pub(crate) send_timeout: Duration,
    pub(crate) buffer_bytes_max: usize,
    pub(crate) batch_messages_max: usize,
    pub(crate) batch_bytes_max: usize,
    pub(crate) requests_in_flight_max: usize,
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
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a message is tried before its outcome is refused (never sent) or unknown. Default 30 s, 10 ms to 10 min
    /// (a broker remembers a silent producer for longer than that).
    #[must_use]
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.send_timeout = timeout;
        self
    }

    /// Bytes of unfinished messages that the producer holds; a send waits for room beyond it. Default 64 MiB, 8 MiB
    /// to 1 GiB (so that the largest message always fits).
    #[must_use]
    pub fn buffer_bytes_max(mut self, bytes: usize) -> Self {
        self.buffer_bytes_max = bytes;
        self
    }

    /// Messages in one request. Default 512, 1 to 1,024.
    #[must_use]
    pub fn batch_messages_max(mut self, messages: usize) -> Self {
        self.batch_messages_max = messages;
        self
    }

    /// Bytes in one request, more only if a single message has more. Default 1 MiB, 1 KiB to 4 MiB; brokers take
    /// 8 MiB.
    #[must_use]
    pub fn batch_bytes_max(mut self, bytes: usize) -> Self {
        self.batch_bytes_max = bytes;
        self
    }

    /// Requests in flight for one topic; the lanes of message groups have one each regardless. Default 4, 1 to 4 (together with
    /// [`batch_messages_max`](Self::batch_messages_max) it bounds the unfinished sequences, which must fit the broker's memory of
    /// results).
    #[must_use]
    pub fn requests_in_flight_max(mut self, requests: usize) -> Self {
        self.requests_in_flight_max = requests;
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        within("send_timeout", self.send_timeout, Duration::from_millis(10)..=Duration::from_secs(600))?;
        within("buffer_bytes_max", self.buffer_bytes_max, 8 << 20..=1 << 30)?;
        within("batch_messages_max", self.batch_messages_max, 1..=1024)?;
        within("batch_bytes_max", self.batch_bytes_max, 1 << 10..=4 << 20)?;
        within("requests_in_flight_max", self.requests_in_flight_max, 1..=4)
    }
}
