//! What ends a stream from outside.

use std::time::Duration;

use raft_log::types::Term;

use super::{Session, end};
use crate::state::UnknownName;

/// How often a stream looks whether its topic and group exist. While a receive waits it is told at once; one that grants no
/// credit has none.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Session {
    /// Ends the stream when this node leads no longer or stops, when its topic or group is deleted, or when its client goes.
    /// Returns when it is over.
    pub(super) async fn watch(&self, term: Term) {
        let gone = tokio::select! {
            () = self.ending.over() => return,
            () = self.node.relay.leadership().lost(term) => end::not_leader(&self.node),
            () = self.node.stop.cancelled() => end::stopping(),
            () = self.out.closed() => end::gone(),
            name = self.deleted() => end::unknown(name),
        };
        self.ending.set(gone);
    }

    /// Returns when topic or group is gone.
    async fn deleted(&self) -> UnknownName {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.node.state.topic_by_id(self.wanted.topic).is_none() {
                return UnknownName::Topic;
            }
            if self.node.state.group_by_id(self.wanted.group).is_none() {
                return UnknownName::Group;
            }
            self.node.poll.in_use(self.wanted.group);
        }
    }
}
