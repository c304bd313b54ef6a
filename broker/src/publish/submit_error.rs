//! Why a command that was submitted has no outcome.

/// Why a command has no outcome of `apply`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Not stored: this node does not lead (any longer).
    #[error("this node does not lead the group")]
    NotLeader,
    /// Not stored: the bytes of its class that wait are at their bound.
    #[error("too many bytes wait to be stored")]
    Overloaded,
    /// Not stored: the disks of the group are nearly full.
    #[error("the disks of the broker group are nearly full")]
    DiskFull,
    /// Not stored: the command is larger than an entry may be.
    #[error("the request makes a command of {bytes} bytes, which is more than an entry holds")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It may be stored.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
}
