//! Plain values of the broker: names, numbers, places. Parsed at the door, trusted inside.
//!
//! Nothing here does I/O, holds a lock or knows a protocol. What a value's type promises is checked where it is made:
//! a [`TopicName`] is legal, a [`Position`] is a Raft position and never a place in a file (hazards 6).

mod group;
mod keys;
mod marks;
mod names;
mod numbers;
mod position;
mod tags;
mod topic;

pub use group::{GroupChange, GroupSettings, StartPoint};
pub use keys::{AttemptKey, ClientKey, MessageGroupKey, ProducerId, TagKey};
pub use marks::Marks;
pub use names::{GROUP_CHARS_MAX, GroupName, NameError, TOPIC_CHARS_MAX, TopicName};
pub use numbers::{ConsumerGroupId, QueueId, QueueOffset, TopicId};
pub use position::Position;
pub use tags::TagFilter;
pub use topic::{Placement, SYSTEM_GROUP, TopicSettings, TopicType};
