//! Settings of a consumer.

use std::time::Duration;

use super::within;
use crate::error::Error;

/// Settings of a [`Consumer`](crate::Consumer).
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    pub(crate) invisible_duration: Duration,
    pub(crate) filter: String,
    pub(crate) prefetch_messages: u64,
    pub(crate) prefetch_bytes: u64,
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
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a delivered message stays hidden from the group until it is acknowledged. Default 30 s, 10 s to 12 h. At least
    /// half of it is left when the application gets the message.
    #[must_use]
    pub fn invisible_duration(mut self, duration: Duration) -> Self {
        self.invisible_duration = duration;
        self
    }

    /// Tags of the messages that are wanted, as `a || b`. Default: empty, all messages. The group is done with the others.
    #[must_use]
    pub fn filter(mut self, tags: impl Into<String>) -> Self {
        self.filter = tags.into();
        self
    }

    /// Messages of one topic that are on their way or wait for the application. Default 2,048, 1 to 16,384.
    #[must_use]
    pub fn prefetch_messages(mut self, messages: u64) -> Self {
        self.prefetch_messages = messages;
        self
    }

    /// Bytes of them; more only if a single message has more. Default 16 MiB, 64 KiB to 32 MiB.
    #[must_use]
    pub fn prefetch_bytes(mut self, bytes: u64) -> Self {
        self.prefetch_bytes = bytes;
        self
    }

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
