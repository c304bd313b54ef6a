//! What the checkers of a simulation see of a replica.

use openraft::async_runtime::WatchReceiver as _;

use crate::raft::type_config::log_id;
use crate::replica::Replica;
use crate::types::{LogId, Term};

/// What a replica knows at this very moment, without the delay of its [`Status`](crate::Status).
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its term.
    pub term: Term,
    /// Whether it leads.
    pub leads: bool,
    /// The last entry that it knows as committed.
    pub committed: Option<LogId>,
}

impl Replica {
    /// What it knows now.
    #[must_use]
    pub fn standing_now(&self) -> Standing {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        Standing {
            term: Term(metrics.current_term),
            leads: metrics.state == openraft::ServerState::Leader,
            committed: metrics.local_committed.map(log_id),
        }
    }
}
