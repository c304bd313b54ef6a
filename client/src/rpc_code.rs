//! The codes of gRPC, as administrative calls are answered with them.

use std::fmt;

use tonic::Code;

/// Why a node did not do what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RpcCode {
    /// The request is wrong; the message says how.
    InvalidArgument,
    /// What it is about does not exist.
    NotFound,
    /// What it would make exists, with other settings.
    AlreadyExists,
    /// The state of the group does not allow it.
    FailedPrecondition,
    /// Whoever asks may not.
    PermissionDenied,
    /// It is not known who asks.
    Unauthenticated,
    /// The node does not know the call.
    Unimplemented,
    /// The node is at one of its bounds.
    ResourceExhausted,
    /// The node cannot do it now.
    Unavailable,
    /// The time passed.
    DeadlineExceeded,
    /// The node failed.
    Internal,
    /// Any other.
    Other,
}

impl RpcCode {
    pub(crate) fn of(code: Code) -> Self {
        match code {
            Code::InvalidArgument | Code::OutOfRange => Self::InvalidArgument,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists => Self::AlreadyExists,
            Code::FailedPrecondition => Self::FailedPrecondition,
            Code::PermissionDenied => Self::PermissionDenied,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::Unimplemented => Self::Unimplemented,
            Code::ResourceExhausted => Self::ResourceExhausted,
            Code::Unavailable | Code::Unknown => Self::Unavailable,
            Code::DeadlineExceeded => Self::DeadlineExceeded,
            Code::Internal | Code::DataLoss => Self::Internal,
            Code::Ok | Code::Cancelled | Code::Aborted => Self::Other,
        }
    }

    /// Whether the broker could not do it now: these say that in `tercet.admin.v1`.
    #[must_use]
    pub fn can_retry(self) -> bool {
        matches!(self, Self::Unavailable | Self::DeadlineExceeded | Self::ResourceExhausted)
    }
}

impl fmt::Display for RpcCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
