//! What stops the node while it applies or opens: never a refusal, which is an outcome.

use raft_log::ApplyError;

use super::codec::DecodeError;
use super::store::StoreError;

/// Why the state cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry is not of a version that this build knows, or damaged (hazards 17, 30).
    #[error("the entry cannot be applied: {0}")]
    Entry(#[from] DecodeError),
    /// A record of the store is damaged or missing.
    #[error("the record with key {key} is damaged: {reason}")]
    Damaged {
        /// Its key, in hexadecimal.
        key: String,
        /// How.
        reason: String,
    },
}

impl Fault {
    pub(crate) fn damaged(key: &[u8], reason: impl std::fmt::Display) -> Fault {
        Fault::Damaged { key: hex::encode(key), reason: reason.to_string() }
    }
}

impl From<Fault> for ApplyError {
    fn from(fault: Fault) -> ApplyError {
        ApplyError::new(fault.to_string())
    }
}
