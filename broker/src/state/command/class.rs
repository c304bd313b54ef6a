//! Classes of commands: those of one class enter the log in the order in which they were submitted; classes share entries.

use super::encoded::EncodedCommand;
use super::kind;

/// What a command is for. It follows from the kind alone, so that of one client no acknowledgement and change of the
/// invisible time overtake each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Settles deliveries, or keeps them alive.
    Settle,
    /// Lets happen what is due. Not the class above: what was settled in time counts, however much becomes due.
    Time,
    /// Makes and changes topics and groups.
    Administer,
    /// Keeps what is held within its bounds: moves bodies that are still needed, lets queues follow the readable start,
    /// erases what was deleted, and deletes groups that nobody uses.
    Keep,
    /// Publishes messages.
    Publish,
    /// Delivers messages. Behind the class above: who waits for a message can have one of the same entry.
    Deliver,
}

impl Class {
    /// How many classes there are.
    pub const COUNT: usize = 6;
    /// All of them, in the order in which an entry holds them.
    pub const ALL: [Class; Class::COUNT] =
        [Class::Settle, Class::Time, Class::Administer, Class::Keep, Class::Publish, Class::Deliver];

    /// In metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::Settle => "settle",
            Class::Time => "time",
            Class::Deliver => "deliver",
            Class::Administer => "administer",
            Class::Keep => "keep",
            Class::Publish => "publish",
        }
    }
}

impl EncodedCommand {
    /// The class of the command.
    ///
    /// # Panics
    /// If the command is of a kind without a class.
    #[must_use]
    pub fn class(&self) -> Class {
        match self.frame[0] {
            kind::ACK | kind::CHANGE_INVISIBLE | kind::DEAD_LETTER | kind::RENEW_LEASES => Class::Settle,
            kind::TICK => Class::Time,
            kind::RECEIVE => Class::Deliver,
            kind::BOOTSTRAP
            | kind::CREATE_TOPIC
            | kind::CREATE_GROUP
            | kind::UPDATE_GROUP
            | kind::DELETE_TOPIC
            | kind::DELETE_GROUP
            | kind::RAISE_LEVEL => Class::Administer,
            kind::TRIM_TO | kind::RELEASE_TO | kind::SWEEP | kind::RELOCATE | kind::ERASE | kind::KEEP_GROUPS => {
                Class::Keep
            }
            kind::PUBLISH => Class::Publish,
            other => unreachable!("commands of kind {other} have no class: give them one here"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_hold_the_classes_in_their_order_and_receives_pick_what_came_with_them() {
        assert!(Class::ALL.iter().enumerate().all(|(at, class)| *class as usize == at));
        assert!(Class::Publish < Class::Deliver);
    }
}
