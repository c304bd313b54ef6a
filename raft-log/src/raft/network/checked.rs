//! What the followers have confirmed to this leader, and what to do about one that takes it back.
//!
//! A follower that has answered "I hold it up to here" and later, under the same vote, "I do not", has lost what it
//! confirmed. openraft is built on that never happening: it would ask for ever for what follows the lost entries.
//! ```text
//!   it says that its machine stopped while it was `async` (hazards 10)      ┐ openraft may search anew, once an opening:
//!   its folder is an older copy of itself, and its vote is taken already    ┘ it catches up
//!   neither                                                                  its folder is an older copy of itself: no
//!                                                                            answer of it counts (hazards 34)
//! ```
//! That a search is allowed takes nothing back: what a quorum has accepted stays committed, and what the follower
//! acknowledges from then on it holds.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::error::{RPCError, Unreachable};
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult};

use crate::planted::{self, Bug};
use crate::raft::network::confirmed::end;
use crate::raft::network::peers::Peers;
use crate::raft::sightings::OLDER_COPY;
use crate::raft::type_config::{RaftVote, TypeConfig};
use crate::types::NodeId;

/// The answers of one append connection, on their way to openraft.
#[derive(Clone)]
pub(crate) struct Checked {
    peers: Arc<Peers>,
    target: NodeId,
    vote: RaftVote,
    /// What was confirmed before the connection was made: everything that is asked over it was asked after that.
    floor: u64,
    searches: u64,
    /// No answer can be about this index: nothing from there on was sent.
    sent_end: Arc<AtomicU64>,
}

impl Checked {
    /// For a connection that is made now.
    pub(crate) fn new(peers: &Arc<Peers>, target: NodeId, vote: RaftVote) -> Checked {
        let (floor, searches) = (peers.confirmed.floor(target, vote), peers.confirmed.searches(target));
        Checked { peers: peers.clone(), target, vote, floor, searches, sent_end: Arc::default() }
    }

    /// A request is about to be sent: what it states as committed is.
    pub(crate) fn sending(&self, request: &AppendEntriesRequest<TypeConfig>) {
        let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        self.sent_end.fetch_max(end(last.as_ref()), Ordering::Relaxed);
        self.peers.confirmed.committed.fetch_max(end(request.leader_commit.as_ref()), Ordering::Relaxed);
    }

    /// The vote under which this connection asks.
    pub(crate) fn vote(&self) -> RaftVote {
        self.vote
    }

    /// Passes an answer on, unless it takes back what was confirmed and must not.
    ///
    /// # Errors
    /// When the follower holds less than it confirmed.
    pub(crate) async fn answer(
        &self,
        answer: StreamAppendResult<TypeConfig>,
    ) -> Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>> {
        match &answer {
            Ok(Some(at)) | Err(StreamAppendError::Conflict(at))
                if end(Some(at)) > self.sent_end.load(Ordering::Relaxed) =>
            {
                return Err(refused(format!("it answers for entry {at}, which was not sent")));
            }
            Ok(matched) => {
                let held = self.peers.confirmed.note(self.target, self.vote, matched.as_ref());
                self.peers.pasts.sightings.note_held(self.target, held);
            }
            Err(StreamAppendError::Conflict(at)) if at.index < self.floor => self.reverted(at.index).await?,
            Err(StreamAppendError::Conflict(_)) => {}
            Err(StreamAppendError::HigherVote(vote)) => {
                self.peers.check_term(vote).map_err(|error| refused(error.to_string()))?;
            }
        }
        Ok(answer)
    }

    async fn reverted(&self, at: u64) -> Result<(), RPCError<TypeConfig>> {
        let (target, floor, sightings) = (self.target, self.floor, &self.peers.pasts.sightings);
        if self.peers.confirmed.searches(target) != self.searches {
            return Err(refused("this was answered before the follower was brought up anew".to_owned()));
        }
        if !self.may_search() {
            let reason = format!("it had confirmed the entries before {floor}, and does not hold entry {at}");
            if !sightings.is_known_older_copy(target) {
                tracing::error!(peer = %target, reason, "{}", OLDER_COPY);
            }
            sightings.mark_older_copy(target);
            sightings.save().await;
            return Err(refused(reason));
        }
        tracing::warn!(peer = %target, floor, at, "a follower has lost what it confirmed; it is brought up anew");
        sightings.lower_held(target, at);
        self.peers.confirmed.forget(target);
        let Some(raft) = self.peers.raft() else { return Ok(()) };
        match raft.trigger().allow_next_revert(&target, true).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(refused(error.to_string())),
            Err(fatal) => Err(refused(fatal.to_string())),
        }
    }

    /// Whether openraft may search anew for what the follower holds; once an opening.
    fn may_search(&self) -> bool {
        if planted::is(Bug::LogReversionAllowed) {
            return true;
        }
        let Some(told) = self.peers.pasts.told_by(self.target) else { return false };
        let is_older_copy = self.peers.pasts.sightings.is_known_older_copy(self.target);
        let legal = told.may_forget || (is_older_copy && !self.peers.is_voter(self.target));
        legal && self.peers.confirmed.begin_search(self.target, told.opening)
    }
}

fn refused(reason: String) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(&io::Error::other(reason)))
}
