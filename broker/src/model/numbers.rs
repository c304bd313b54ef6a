//! The broker's numbers, each with its own type.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number! {
    /// A topic, numbered by the state machine of its broker group in order of creation; a number is never used again,
    /// whatever is deleted.
    TopicId(u64)
}
number! {
    /// A consumer group, numbered like topics.
    ConsumerGroupId(u64)
}
number! {
    /// A queue of a topic within one broker group: the identity of a queue is (broker group, queue id), and each
    /// broker group has a queue 0 (hazards 29).
    QueueId(u32)
}
number! {
    /// A message's place in its queue: 0-based and dense.
    QueueOffset(u64)
}

impl QueueOffset {
    /// The offset after this one.
    #[must_use]
    pub fn next(self) -> QueueOffset {
        self.plus(1)
    }

    /// The offset `count` places on.
    #[must_use]
    pub fn plus(self, count: u64) -> QueueOffset {
        QueueOffset(self.0.checked_add(count).expect("a queue never reaches 2^64 messages"))
    }
}
