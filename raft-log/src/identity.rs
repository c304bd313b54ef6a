//! Who a data folder belongs to.

/// Why a data folder is not this node's.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Placeholder of the first increment.
    #[error("identity: {0}")]
    Mismatch(String),
}
