//! Why a stream ends: the first reason counts.

use std::sync::{Mutex, PoisonError};

use tercet_proto::client::v1::{End, EndReason};
use tokio_util::sync::CancellationToken;

use super::super::{node::Node, refusal::Refusal};
use crate::{forward::Place, publish::SubmitError, state::UnknownName};

/// Whether and why a stream is over.
#[derive(Debug, Default)]
pub(super) struct Ending {
    over: CancellationToken,
    end: Mutex<Option<End>>,
}

impl Ending {
    /// The stream is over for this reason, unless it already is for another.
    pub(super) fn set(&self, end: End) {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(end);
        self.over.cancel();
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Returns when the stream is over.
    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// The reason, of a stream that is over.
    pub(super) fn take(&self) -> End {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        end.unwrap_or_else(gone)
    }
}

fn end(reason: EndReason, text: impl Into<String>) -> End {
    End { reason: reason as i32, text: text.into(), leader: String::new() }
}

/// The client said goodbye.
pub(super) fn finished() -> End {
    end(EndReason::Finished, "everything is answered")
}

/// It was cut off; nobody hears this.
pub(super) fn gone() -> End {
    end(EndReason::Unspecified, "the client has gone")
}

pub(super) fn stopping() -> End {
    end(EndReason::Stopping, "the node stops")
}

pub(super) fn bad_request(text: impl Into<String>) -> End {
    end(EndReason::BadRequest, text)
}

pub(super) fn overloaded(text: impl Into<String>) -> End {
    end(EndReason::Overloaded, text)
}

/// With the leader's address, if this node knows another one.
pub(super) fn not_leader(node: &Node) -> End {
    let leader = match node.relay.leadership().place() {
        Some(Place::At { client, .. }) => client,
        Some(Place::Here) | None => String::new(),
    };
    End { leader, ..end(EndReason::NotLeader, "this node does not lead the broker group") }
}

pub(super) fn unknown(name: UnknownName) -> End {
    match name {
        UnknownName::Group => end(EndReason::GroupNotFound, "the consumer group does not exist"),
        UnknownName::Topic | UnknownName::Queue => end(EndReason::TopicNotFound, "the topic does not exist"),
    }
}

/// A stream works by the order that its group kept when it was opened.
pub(super) fn group_changed() -> End {
    end(EndReason::GroupChanged, "whether the consumer group keeps the order was changed")
}

pub(super) fn group_not_found(text: String) -> End {
    end(EndReason::GroupNotFound, text)
}

/// A command that has no outcome. If it may be stored all the same, the client asks again on its next stream.
pub(super) fn failed(node: &Node, error: &SubmitError) -> End {
    match error {
        SubmitError::NotLeader | SubmitError::Unknown(_) => not_leader(node),
        SubmitError::Overloaded | SubmitError::DiskFull => overloaded(error.to_string()),
        SubmitError::TooLarge { .. } => bad_request(error.to_string()),
    }
}

pub(super) fn refused(refusal: Refusal) -> End {
    bad_request(refusal.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts() {
        let ending = Ending::default();
        assert!(!ending.is_over());
        ending.set(stopping());
        ending.set(bad_request("later"));
        assert!(ending.is_over());
        assert_eq!(ending.take().reason(), EndReason::Stopping);
    }
}
