//! What `apply` answers: one outcome per command.
//!
//! Equal on every node, and part of the rolling digest. A refusal is an outcome, not an error: the command was applied
//! and changed nothing.

mod wire;

pub(crate) use wire::OutcomesBuilder;
pub use wire::outcomes;

use raft_log::types::{ClusterId, LogIndex, UnixMillis};

use super::level::Level;
use crate::model::{ConsumerGroupId, GroupSettings, Position, QueueId, QueueOffset, TopicId, TopicSettings};

/// The outcome of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The cluster has this identity; `first` if this command gave it.
    Bootstrapped {
        /// The identity, of the first bootstrap.
        cluster: ClusterId,
        /// Whether this command was the first; a later one changed nothing (hazards 27).
        first: bool,
    },
    /// Of `CreateTopic`.
    Topic(Created<TopicId, TopicSettings>),
    /// Of `CreateGroup`.
    Group(Created<ConsumerGroupId, GroupSettings>),
    /// Of `UpdateGroup`: the settings now.
    GroupUpdated(GroupSettings),
    /// All messages of the command are stored, one entry each, in order.
    Stored(Vec<StoredAt>),
    /// No message of the command is stored by it.
    PublishRefused(PublishRefusal),
    /// Of `RaiseLevel`: the feature level now.
    Level(Level),
    /// Of `Receive`.
    Received(Received),
    /// The command names a topic, group or queue that does not exist.
    Unknown(UnknownName),
    /// Of `Ack`, one for each entry, in order.
    Acked(Vec<Settled>),
    /// Of `ChangeInvisible`: the delivery and when it ends now, or why not.
    Changed(Result<UnixMillis, Settled>),
    /// Of `DeadLetter`.
    DeadLettered(Settled),
    /// Of `RenewLeases`: how many leases end at another time now.
    Renewed(u32),
    /// Of `Tick`.
    Ticked,
    /// The readable start is here now; below what was asked for if something there is still needed.
    Trimmed {
        /// The first entry that stays readable.
        start: LogIndex,
    },
    /// Of a sweep.
    Swept {
        /// Queues are left that have not followed the readable start.
        more: bool,
    },
    /// Of a relocation: how many holders have their body in its new place.
    Relocated(u32),
    /// Of `DeleteTopic` and `DeleteGroup`.
    Deleted(Deleted),
    /// Of `Erase`.
    Erased {
        /// Deleted topics and groups of which something is left.
        left: u32,
    },
    /// Of `KeepGroups`.
    GroupsKept {
        /// Groups that nobody used and that are deleted now. At the bound of one command, there are more.
        deleted: u32,
    },
}

/// How a deletion went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Done,
    /// There is none (any longer).
    Unknown,
    /// Too many names of deleted groups are remembered. Nothing changed.
    Refused,
}

/// How a creation went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created<I, S> {
    /// It is new.
    New(I),
    /// It was there, with the same settings.
    Same(I),
    /// It was there with other settings, which stay.
    Other(I, S),
    /// There are too many, or the settings are out of range.
    Refused,
    /// A group of this name was deleted not long ago: no subscription makes it anew, a person may.
    Buried,
    /// The group's first command is not applied yet, so there is no broker group to put it in: nothing was done.
    Unformed,
}

impl<I: Copy, S> Created<I, S> {
    /// The number, if it exists now.
    pub fn id(&self) -> Option<I> {
        match self {
            Created::New(id) | Created::Same(id) | Created::Other(id, _) => Some(*id),
            Created::Refused | Created::Buried | Created::Unformed => None,
        }
    }
}

/// Where a message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredAt {
    /// Its queue. A repeat answers the queue of the first time, whatever the repeat asked for.
    pub queue: QueueId,
    /// Its offset there.
    pub offset: QueueOffset,
    /// Whether an earlier command stored it (hazards 16).
    pub repeated: bool,
}

/// Why a publish stored nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishRefusal {
    /// No such topic.
    #[error("the topic does not exist")]
    UnknownTopic,
    /// No such queue.
    #[error("the topic has no queue {0}")]
    UnknownQueue(QueueId),
    /// A newer epoch of this producer has published: this one is fenced.
    #[error("the producer's epoch is over, the current one is {current}")]
    OldEpoch {
        /// The newest epoch.
        current: u64,
    },
    /// The sequence lies below the floor of kept results: stored or not cannot be told (hazards 16). Not a statement
    /// that the message is not stored; but if it was not, it never will be.
    #[error(
        "the sequence is older than the kept results, which begin at {first_kept}: whether it is stored is unknown"
    )]
    BelowWindow {
        /// The first sequence with a kept result.
        first_kept: u64,
    },
    /// A FIFO topic takes the next sequence only.
    #[error("the sequence leaves a gap, {expected} is expected")]
    SequenceGap {
        /// The next sequence.
        expected: u64,
    },
    /// The producer has more sequences in doubt than results are kept; may be tried again when some are settled.
    #[error("too many sequences of the producer are in doubt, from {lowest} on")]
    TooManyInDoubt {
        /// The lowest.
        lowest: u64,
    },
    /// The producer is not known, or no longer, so that it cannot be told whether an earlier try of these messages was
    /// stored. This one was not. Its next messages are taken.
    #[error("the producer is not known (any longer): whether an earlier try of these messages is stored is unknown")]
    UnknownProducer,
    /// There are as many producers as are kept, all of them in use, and this one is not among them; may be tried again.
    #[error("too many active producers")]
    TooManyProducers {
        /// Whether the producer says that this is its first try. One that does not may have been forgotten.
        first_try: bool,
    },
}

impl PublishRefusal {
    /// Whether the messages are surely not stored, by this or an earlier command.
    #[must_use]
    pub fn surely_not_stored(&self) -> bool {
        match self {
            PublishRefusal::UnknownTopic | PublishRefusal::UnknownQueue(_) | PublishRefusal::SequenceGap { .. } => true,
            PublishRefusal::TooManyProducers { first_try } => *first_try,
            PublishRefusal::BelowWindow { .. }
            | PublishRefusal::TooManyInDoubt { .. }
            | PublishRefusal::UnknownProducer
            | PublishRefusal::OldEpoch { .. } => false,
        }
    }
}

/// What a receive picked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The messages, in the order of delivery.
    pub picks: Vec<Pick>,
    /// The scan stopped at its bound, not for lack of messages: another receive may find some at once.
    pub more: bool,
}

/// One delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The message's queue in the topic that was asked for.
    pub queue: QueueId,
    /// Its offset there.
    pub offset: QueueOffset,
    /// From 1.
    pub attempt: u16,
    /// Where the message lies in the log.
    pub position: Position,
    /// Tells this delivery from the message's others; goes into the receipt handle.
    pub nonce: u64,
    /// When it ends by itself; goes into the receipt handle.
    pub deadline: UnixMillis,
    /// Where a dead-lettered message came from.
    pub origin: Option<Origin>,
}

/// Where a dead-lettered message was first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The topic it was published to.
    pub topic: TopicId,
    /// Its queue there.
    pub queue: QueueId,
    /// Its offset there.
    pub offset: QueueOffset,
}

/// What a command named in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownName {
    /// No such topic.
    #[error("the topic does not exist")]
    Topic,
    /// No such consumer group.
    #[error("the consumer group does not exist")]
    Group,
    /// No such queue.
    #[error("the queue does not exist")]
    Queue,
}

/// What became of an acknowledgement, or why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Done with now.
    Done,
    /// It was done with already; fine for an acknowledgement, a refusal for a change.
    Already,
    /// The delivery is over: its time has passed, another took its place, or the message went to the dead letters.
    Expired,
    /// There never was such a delivery.
    Unknown,
}
