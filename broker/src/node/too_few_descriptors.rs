//! The error of a node that the system gives too few file descriptors.

/// Below this a node does not start.
pub(super) const LIMIT_MIN: u64 = 128;

/// There are too few descriptors for a node.
#[derive(Debug, thiserror::Error)]
#[error(
    "this process may have {limit} files open, and a node needs at least {LIMIT_MIN}, better 65,536: raise `ulimit -n`, or \
     LimitNOFILE= of its systemd unit"
)]
pub struct TooFewDescriptors {
    pub(super) limit: u64,
}
