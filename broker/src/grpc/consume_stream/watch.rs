//! What ends a stream from outside.

use std::time::Duration;

use raft_log::types::Term;

use tercet_proto::client::v1::{End, EndReason};

use super::{super::delivery::STALL_MAX, end, session::Session};
use crate::state::UnknownName;

/// How often a stream of which something has not arrived looks whether others need its room.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often one says that its group is in use that has no receive, which would say so.
const IN_USE_EVERY: Duration = Duration::from_secs(60);

impl Session {
    /// Ends the stream when this node leads no longer or stops, when its topic or group is deleted or the group's order is
    /// changed, or when its client goes, or does not read what others need the room of. Returns when it is over.
    pub(super) async fn watch(&self, term: Term) {
        let gone = tokio::select! {
            () = self.ending.over() => return,
            () = self.node.relay.leadership().lost(term) => end::not_leader(&self.node),
            () = self.node.stop.cancelled() => end::stopping(),
            () = self.out.closed() => end::gone(),
            end = self.changed() => end,
            () = self.is_not_read() => end::overloaded("the client does not read, and others need the room"),
        };
        let is_not_read = gone.reason() == EndReason::Overloaded;
        self.ending.set(gone);
        if is_not_read {
            // Now, and not when all has come to its end: others wait for the room.
            self.out.cut();
        }
    }

    /// Returns when the client takes nothing of what waits for it for a while, and room is scarce. Whatever the stream itself
    /// waits for meanwhile, it holds what others wait for.
    pub(super) async fn is_not_read(&self) {
        let mut stood_at = None;
        loop {
            // Thousands of streams have nothing to do, and none of them may wake for that.
            self.out.waits().await;
            tokio::time::sleep(STALL_MAX).await;
            let stands_at = self.out.stands_at();
            if stands_at.is_some() && stands_at == stood_at && self.node.answers.is_scarce() {
                return;
            }
            stood_at = stands_at;
        }
    }

    /// Returns when topic or group is gone, or keeps another order, or the client never says what has arrived.
    async fn changed(&self) -> End {
        let mut catalog = self.node.state.events().catalog();
        // What changed before it was looked at.
        catalog.mark_changed();
        let looks = async || {
            self.flow.not_all_has_arrived().await;
            tokio::time::sleep(LOOK_EVERY).await;
        };
        loop {
            tokio::select! {
                _ = catalog.changed() => {}
                () = looks() => {}
                () = tokio::time::sleep(IN_USE_EVERY) => {}
            }
            if self.node.state.topic_by_id(self.wanted.topic).is_none() {
                return end::unknown(UnknownName::Topic);
            }
            match self.node.state.group_by_id(self.wanted.group) {
                None => return end::unknown(UnknownName::Group),
                Some(group) if group.settings.fifo != self.wanted.fifo => return end::group_changed(),
                Some(_) => {}
            }
            if self.flow.crowds_others() {
                return end::overloaded("the client does not say what has arrived, and others need the room");
            }
            self.node.poll.in_use(self.wanted.group);
        }
    }
}
