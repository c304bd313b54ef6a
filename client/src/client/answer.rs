//! Answers to calls: those that carry a status of the protocol, and those that do not.

use tercet_proto::rocketmq::v2 as pb;

/// An answer that carries a status of the protocol.
pub(crate) trait Answer {
    /// `None` where errors are gRPC errors instead.
    fn status(&self) -> Option<&pb::Status>;
}

/// An answer without a status: its errors are gRPC errors.
#[derive(Debug)]
pub(crate) struct Plain<T>(pub(crate) T);

impl<T> Answer for Plain<T> {
    fn status(&self) -> Option<&pb::Status> {
        None
    }
}
