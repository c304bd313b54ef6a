//! What became of a published message: one of three things, never a fourth.

use std::fmt;

use crate::{broker_group::BrokerGroup, code::Code, message_id::MessageId};

/// What became of a message.
///
/// ```text
///            every attempt surely failed      an answer came                 deadline passed, and some
///            or the request is at fault       that says where                attempt may have got through
///                   │                              │                                │
///                Refused                        Stored                           Unknown
/// ```
/// `Refused` is a promise: no consumer will ever see the message. `Unknown` is none: it may be stored, once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an outcome says whether the message is stored"]
pub enum Outcome {
    /// A majority of the broker group holds the message.
    Stored(Stored),
    /// The message is not stored and never will be.
    Refused(Refused),
    /// The message may be stored, at most once.
    Unknown(Unknown),
}

/// Where a message is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// Whose queue it is; `None` if the broker did not say.
    pub broker_group: Option<BrokerGroup>,
    /// The number of the queue; `None` if the broker did not say (only Tercet's does).
    pub queue: Option<u32>,
    /// Position in the queue, 0-based.
    pub offset: u64,
    /// The message's id.
    pub message_id: MessageId,
}

/// Why a message is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// The reason for programs.
    pub reason: RefusedReason,
    /// The reason in words.
    pub message: String,
    /// The message's id, if it got so far as to have one.
    pub message_id: Option<MessageId>,
}

/// Why a message is not stored, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedReason {
    /// The last attempt was answered with this code, such as [`Code::TOPIC_NOT_FOUND`], or [`Code::HA_NOT_AVAILABLE`] while the
    /// group had no leader.
    Answered(Code),
    /// No node could be reached.
    Unreachable,
    /// The time passed before the message was sent.
    NeverSent,
    /// The producer is closed.
    Closed,
    /// The producer has no room for it: too much is under way in too many topics.
    Full,
    /// What was handed over together can be no request.
    Invalid,
}

/// Why it is not known whether a message is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unknown {
    /// What went wrong last, in words.
    pub why: String,
    /// The message's id.
    pub message_id: MessageId,
}

/// A message that is not known to be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// See [`Outcome::Refused`].
    #[error("not stored: {0}")]
    Refused(Refused),
    /// See [`Outcome::Unknown`].
    #[error("unknown whether stored: {0}")]
    Unknown(Unknown),
}

impl SendError {
    /// Whether sending the message again as a new one can succeed. After [`SendError::Unknown`] it may also store
    /// the message a second time.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Refused(refused) => refused.reason.can_retry(),
            Self::Unknown(_) => true,
        }
    }
}

impl Outcome {
    /// Whether the message is stored.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        matches!(self, Self::Stored(_))
    }

    /// The place if stored, else an error, for `?`.
    ///
    /// # Errors
    /// If the message was refused or its outcome is unknown.
    pub fn stored(self) -> Result<Stored, SendError> {
        match self {
            Self::Stored(stored) => Ok(stored),
            Self::Refused(refused) => Err(SendError::Refused(refused)),
            Self::Unknown(unknown) => Err(SendError::Unknown(unknown)),
        }
    }
}

impl Refused {
    /// As a producer makes it, for tests and for what refuses messages before a producer gets them.
    #[must_use]
    pub fn new(reason: RefusedReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), message_id: None }
    }

    pub(crate) fn with_id(self, message_id: MessageId) -> Self {
        Self { message_id: Some(message_id), ..self }
    }
}

impl RefusedReason {
    /// What the broker answered, if it did.
    #[must_use]
    pub fn code(self) -> Option<Code> {
        match self {
            Self::Answered(code) => Some(code),
            _ => None,
        }
    }

    /// Whether sending the message again can succeed without any change to it.
    #[must_use]
    pub fn can_retry(self) -> bool {
        match self {
            Self::Answered(code) => !code.is_request_fault(),
            Self::Unreachable | Self::NeverSent | Self::Full => true,
            Self::Closed | Self::Invalid => false,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            RefusedReason::Answered(code) => write!(f, "{} ({code})", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (message {})", self.why, self.message_id)
    }
}
