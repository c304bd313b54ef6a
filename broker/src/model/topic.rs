//! What a topic is made as, and where its queues are.

use raft_log::types::GroupId;

/// What kinds of messages a topic takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicType {
    /// Unordered, visible at once.
    Normal,
    /// Ordered per message group.
    Fifo,
    /// Visible at a time that the producer chooses.
    Delay,
    /// Half messages that become visible by a commit.
    Transaction,
}

impl TopicType {
    /// Its number in commands and in the store.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            TopicType::Normal => 1,
            TopicType::Fifo => 2,
            TopicType::Delay => 3,
            TopicType::Transaction => 4,
        }
    }

    /// The type with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<TopicType> {
        match code {
            1 => Some(TopicType::Normal),
            2 => Some(TopicType::Fifo),
            3 => Some(TopicType::Delay),
            4 => Some(TopicType::Transaction),
            _ => None,
        }
    }
}

/// The settings of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// How many queues it has in this broker group, numbered from 0; at least one (hazards 29).
    pub queues: u32,
    /// What it takes.
    pub kind: TopicType,
}

/// Reserved for a group that will hold what a whole cluster shares: nodes, groups, topics and users. It holds no messages.
pub const SYSTEM_GROUP: GroupId = GroupId(0);

/// Queues of a topic in one broker group. A queue is named by both, so each group has a queue 0 (hazards 29).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The group that owns them. Never [`SYSTEM_GROUP`].
    pub group: GroupId,
    /// How many there are, numbered from 0; at least one.
    pub queues: u32,
    /// Counts the changes of this entry, from 1: who acts by an older one is refused where it acts (hazards 43).
    pub epoch: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_both_ways() {
        for kind in [TopicType::Normal, TopicType::Fifo, TopicType::Delay, TopicType::Transaction] {
            assert_eq!(TopicType::from_code(kind.code()), Some(kind));
        }
        assert_eq!(TopicType::from_code(0), None);
        assert_eq!(TopicType::from_code(5), None);
    }
}
