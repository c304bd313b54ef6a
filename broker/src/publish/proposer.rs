//! The log as the batcher sees it.

use std::future::Future;

use bytes::Bytes;
use raft_log::{ProposeError, Proposed, Replica};

/// What entries are proposed to.
pub trait Proposer: Send + Sync + 'static {
    /// Proposes a payload of `count` messages. MUST keep the order of the calls if each future is polled at once.
    fn propose(
        &self,
        payload: Bytes,
        count: u32,
    ) -> impl Future<Output = Result<Proposed, ProposeError>> + Send + 'static;

    /// Whether disks are so full that publishes are refused now.
    fn is_full(&self) -> bool {
        false
    }
}

impl Proposer for Replica {
    fn propose(
        &self,
        payload: Bytes,
        count: u32,
    ) -> impl Future<Output = Result<Proposed, ProposeError>> + Send + 'static {
        let replica = self.clone();
        async move { Replica::propose(&replica, payload, count).await }
    }

    fn is_full(&self) -> bool {
        !self.full_members().is_empty()
    }
}
