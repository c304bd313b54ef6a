//! The replicated state machine: what the log's entries mean.
//!
//! ```text
//!   entries ──► command ──► core (working set in memory) ──► changes ──► store (RocksDB, one batch per call)
//!                             │    topics, groups, producers, consumption, timers
//!                             └──► outcomes ──► response to the proposer; events ──► long polls of the leader
//! ```
//! Deterministic: equal entries give equal state, outcomes and rolling digest on every node (hazards 17). Nothing in
//! here reads a clock, draws randomness, spawns anything or does I/O but on its store; time is the stamp on the
//! entries, and whatever order can be seen comes from ordered maps.
//!
//! The bounds in here (how far a receive scans, how many results a producer keeps) are part of what entries mean, not
//! tuning: changing one changes the state that old entries lead to, and waits for a replicated feature level.
//!
//! What it is not: a place for message bodies, which stay in the log at their [`Position`](crate::model::Position), nor
//! for what only the leader needs, such as who waits for messages.

mod apply;
mod backlog;
mod buried;
mod changes;
mod codec;
mod command;
mod consumption;
mod dead_letter_tally;
mod digest;
mod erasures;
mod events;
mod fault;
mod flush;
mod groups;
mod idle_groups;
mod ids;
mod index;
mod keys;
mod level;
mod load;
mod machine;
mod needed;
mod outcome;
pub(crate) mod planted;
mod producers;
mod reader;
mod replace;
mod retained;
mod store;
#[cfg(test)]
mod tests;
mod topics;
mod unread;
mod views;

pub use apply::IDLE_AT_ONCE_MAX;
pub(crate) use backlog::Times;
pub use backlog::{Backlog, QueueBacklog};
pub use codec::DecodeError;
#[cfg(test)]
pub(crate) use command::ReleaseTo;
pub use command::{
    Ack, AckEntry, BASE_SEQUENCE_MAX, BatchBuilder, Bootstrap, ChangeInvisible, Class, CreateGroup, CreateTopic,
    DeadLetter, DeleteGroup, DeleteTopic, EncodedCommand, Erase, KeepGroups, NewMessage, ProducerStamp, PublishBuilder,
    RaiseLevel, Receive, RenewLeases, StoredMessage, Unsettled, UpdateGroup, entry_stamp, sweep, tick, trim_to,
};
pub(crate) use command::{Holder, NeededBody, relocate};
pub(crate) use consumption::DeliveryKey;
pub use dead_letter_tally::{DeadLetterTally, DeadLettered};
pub use digest::StateDigest;
pub use events::Events;
pub use flush::FlushTriggers;
pub use level::Level;
pub use machine::{OpenStateError, State};
pub(crate) use needed::Counts;
#[cfg(test)]
pub(crate) use outcome::OutcomesBuilder;
pub use outcome::{
    Created, Deleted, Origin, Outcome, Pick, PublishRefusal, Received, Settled, StoredAt, UnknownName, outcomes,
};
pub use reader::{ReadStateError, StateReader};
pub(crate) use store::open_files_max;
#[cfg(test)]
pub(crate) use unread::{Looked, UnreadLook};
pub(crate) use views::HeldBack;
pub use views::{GroupView, Located, ProducersView, QueueBounds, QueueProgress, Ready, StateCounters, TopicView};

use std::time::Duration;

/// For how long after its delivery a message is kept hidden by renewal.
pub const RENEWAL_AGE_MAX: Duration = Duration::from_secs(3 * 60 * 60);

/// Bounds that tests reach.
#[cfg(test)]
mod apply_limits {
    pub(crate) use super::apply::{DEAD_LETTERS_MAX, EXPIRED_MAX, LOOKED_AT_MAX, SCAN_MAX};
    pub(crate) use super::buried::BURIED_MAX;
    pub(crate) use super::consumption::{PENDING_MAX, PENDING_PER_TOPIC_MAX};
    pub(crate) use super::groups::GROUPS_MAX;
    pub(crate) use super::producers::{IDLE_MIN_MS, PRODUCERS_MAX, RESULTS_BYTES_MAX, WINDOW, WINDOW_UNDER_PRESSURE};
}
