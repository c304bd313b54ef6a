//! Why a call failed that is not a publish. (A publish has an [`Outcome`](crate::Outcome) instead.)

use crate::{code::Code, endpoint::EndpointError, message::MessageError, outcome::SendError, rpc_code::RpcCode};

/// A failed call.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of its bounds.
    #[error("bad setting {name}: {problem}")]
    #[non_exhaustive]
    Setting {
        /// The name of the setting.
        name: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// An address is malformed.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A name or a message breaks the limits.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The broker answered with a code other than OK.
    #[error("{call}: {message} ({code})")]
    #[non_exhaustive]
    Refused {
        /// The call that failed.
        call: &'static str,
        /// The broker's code.
        code: Code,
        /// The broker's words.
        message: String,
    },
    /// A node answered with a gRPC error, as administrative calls do.
    #[error("{call}: {message}")]
    #[non_exhaustive]
    Rpc {
        /// The call that failed.
        call: &'static str,
        /// What kind of error it is.
        code: RpcCode,
        /// The broker's words.
        message: String,
    },
    /// No endpoint gave an answer in time.
    #[error("{call}: no answer within {:.1} s from {tried}; last: {last}", waited.as_secs_f64())]
    #[non_exhaustive]
    Unavailable {
        /// The call that failed.
        call: &'static str,
        /// How long it was tried.
        waited: std::time::Duration,
        /// The endpoints that were tried.
        tried: String,
        /// What the last of them did.
        last: String,
    },
    /// A delivered message cannot be read; it comes again.
    #[error("the message at queue {queue}, offset {offset} cannot be read: {problem}")]
    #[non_exhaustive]
    Corrupt {
        /// Its queue.
        queue: u32,
        /// Its offset there.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// A publish that did not end as stored.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A producer or consumer is made, or a call begun, outside of a tokio runtime.
    #[error("there is no tokio runtime here")]
    NoRuntime,
    /// The client, producer or consumer has been closed.
    #[error("closed")]
    Closed,
}

impl Error {
    /// Whether the same call can succeed later without any change to it.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Setting { .. } | Self::Endpoint(_) | Self::Message(_) | Self::NoRuntime | Self::Closed => false,
            Self::Send(error) => error.can_retry(),
            Self::Refused { code, .. } => !code.is_request_fault(),
            Self::Rpc { code, .. } => code.can_retry(),
            Self::Unavailable { .. } | Self::Corrupt { .. } => true,
        }
    }
}
