//! What a consumer group is made as.

use raft_log::types::UnixMillis;

/// Where a group begins in a topic that it has not consumed before; decided in `apply` at its first receive (hazards 21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPoint {
    /// At the first retained message.
    First,
    /// Behind the last message.
    Last,
    /// At the first message stored at or after this time.
    Time(UnixMillis),
}

/// The settings of a consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// Whether messages of one message group are delivered in order, one batch at a time.
    pub fifo: bool,
    /// Deliveries of a message before it is dead-lettered; at least one.
    pub max_attempts: u16,
    /// Where it begins.
    pub start: StartPoint,
}

impl GroupSettings {
    /// Deliveries that users of RocketMQ know: the first and 16 retries.
    pub const MAX_ATTEMPTS_DEFAULT: u16 = 17;
}

/// What becomes different of a group's settings; the rest stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupChange {
    /// See [`GroupSettings::fifo`]. What is with consumers is settled as before; whoever comes next waits for it, or does not.
    pub fifo: Option<bool>,
    /// See [`GroupSettings::max_attempts`]. Counts for deliveries that end from now on.
    pub max_attempts: Option<u16>,
    /// See [`GroupSettings::start`]. Counts for topics that the group has not consumed before.
    pub start: Option<StartPoint>,
}

impl GroupChange {
    /// The settings with this change.
    #[must_use]
    pub fn of(&self, settings: GroupSettings) -> GroupSettings {
        GroupSettings {
            fifo: self.fifo.unwrap_or(settings.fifo),
            max_attempts: self.max_attempts.unwrap_or(settings.max_attempts),
            start: self.start.unwrap_or(settings.start),
        }
    }
}

impl Default for GroupSettings {
    fn default() -> GroupSettings {
        GroupSettings { fifo: false, max_attempts: Self::MAX_ATTEMPTS_DEFAULT, start: StartPoint::First }
    }
}
