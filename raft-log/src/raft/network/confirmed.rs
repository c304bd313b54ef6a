//! What the followers have confirmed to this leader; what is made of it, [`checked`](super::checked) says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::openings::Opening;
use crate::raft::type_config::{RaftLogId, RaftVote};
use crate::types::NodeId;

/// What one follower has confirmed.
#[derive(Clone, Copy, Debug)]
struct Confirmation {
    vote: RaftVote,
    /// It holds all entries before this index.
    end: u64,
}

/// What all followers have confirmed.
#[derive(Debug, Default)]
pub(crate) struct Confirmed {
    /// All entries before this index are committed.
    pub(super) committed: AtomicU64,
    by: Mutex<BTreeMap<NodeId, Confirmation>>,
    /// For which opening of a follower openraft was last allowed to search anew, and how often in all.
    searched: Mutex<BTreeMap<NodeId, (Opening, u64)>>,
}

pub(super) fn end(id: Option<&RaftLogId>) -> u64 {
    id.map_or(0, |id| id.index.saturating_add(1))
}

impl Confirmed {
    /// The follower holds everything up to this entry; says how much of that is committed.
    pub(crate) fn note(&self, target: NodeId, vote: RaftVote, matched: Option<&RaftLogId>) -> u64 {
        let end = end(matched);
        let mut by = self.by();
        let known = by.entry(target).or_insert(Confirmation { vote, end });
        if known.vote == vote {
            known.end = known.end.max(end);
        } else {
            *known = Confirmation { vote, end };
        }
        end.min(self.committed.load(Ordering::Relaxed))
    }

    /// The follower has confirmed all entries before this index, under this vote.
    pub(super) fn floor(&self, target: NodeId, vote: RaftVote) -> u64 {
        self.by().get(&target).filter(|known| known.vote == vote).map_or(0, |known| known.end)
    }

    pub(super) fn forget(&self, target: NodeId) {
        self.by().remove(&target);
    }

    pub(super) fn searches(&self, target: NodeId) -> u64 {
        self.searched().get(&target).map_or(0, |(_, count)| *count)
    }

    /// Notes a search for this opening of the follower; `false` if there was one already.
    pub(super) fn begin_search(&self, target: NodeId, opening: Opening) -> bool {
        let mut searched = self.searched();
        let count = match searched.get(&target) {
            Some((of, _)) if *of == opening => return false,
            Some((_, count)) => count + 1,
            None => 1,
        };
        searched.insert(target, (opening, count));
        true
    }

    fn searched(&self) -> MutexGuard<'_, BTreeMap<NodeId, (Opening, u64)>> {
        self.searched.lock().expect("no holder of this lock panics")
    }

    fn by(&self) -> MutexGuard<'_, BTreeMap<NodeId, Confirmation>> {
        self.by.lock().expect("no holder of this lock panics")
    }
}
