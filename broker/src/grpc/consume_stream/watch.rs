//! What ends a stream from outside.

use std::time::Duration;

use raft_log::types::Term;

use tercet_proto::client::v1::End;

use super::{Session, end};
use crate::state::UnknownName;

/// How often a stream looks whether its topic and group are as they were. While a receive waits it is told at once of a
/// deletion; one that grants no credit has none.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Session {
    /// Ends the stream when this node leads no longer or stops, when its topic or group is deleted or the group's order is
    /// changed, or when its client goes. Returns when it is over.
    pub(super) async fn watch(&self, term: Term) {
        let gone = tokio::select! {
            () = self.ending.over() => return,
            () = self.node.relay.leadership().lost(term) => end::not_leader(&self.node),
            () = self.node.stop.cancelled() => end::stopping(),
            () = self.out.closed() => end::gone(),
            end = self.changed() => end,
        };
        self.ending.set(gone);
    }

    /// Returns when topic or group is gone, or keeps another order.
    async fn changed(&self) -> End {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.node.state.topic_by_id(self.wanted.topic).is_none() {
                return end::unknown(UnknownName::Topic);
            }
            match self.node.state.group_by_id(self.wanted.group) {
                None => return end::unknown(UnknownName::Group),
                Some(group) if group.settings.fifo != self.wanted.fifo => return end::group_changed(),
                Some(_) => {}
            }
            self.node.poll.in_use(self.wanted.group);
        }
    }
}
