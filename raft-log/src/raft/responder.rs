//! The way back of a proposal: its outcome, and the bytes that it held.

use openraft::RaftTypeConfig;
use openraft::alias::LogIdOf;
use openraft::raft::responder::Responder;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Carries a proposal's outcome to its caller.
///
/// It holds the share of the bytes in flight that the proposal took. The share returns when openraft has decided or
/// dropped the proposal, not when the caller stopped waiting: a leader that is cut off keeps its pending proposals, and
/// those must count until they are gone (hazards 15).
pub(crate) struct ProposalResponder<T> {
    outcome: oneshot::Sender<T>,
    _bytes: Option<OwnedSemaphorePermit>,
}

impl<T> ProposalResponder<T> {
    /// The two ends; `bytes` is given back when the first is used or dropped.
    pub(crate) fn new(bytes: Option<OwnedSemaphorePermit>) -> (ProposalResponder<T>, oneshot::Receiver<T>) {
        let (outcome, receiver) = oneshot::channel();
        (ProposalResponder { outcome, _bytes: bytes }, receiver)
    }
}

impl<C, T> Responder<C, T> for ProposalResponder<T>
where
    C: RaftTypeConfig,
    T: Send + 'static,
{
    fn on_commit(&mut self, _log_id: LogIdOf<C>) {}

    fn on_complete(self, outcome: T) {
        // A caller that passed its deadline is gone; nobody waits for the outcome then.
        drop(self.outcome.send(outcome));
    }
}
