//! The vote on disk, and what of it can be there before openraft asks for it.
//!
//! openraft gives a vote the shortest election timeout, and saving one takes two syncs behind whatever the disk is doing.
//! Where a sync takes 200 ms no vote would come in time, every round would raise the term, and nobody would ever be
//! elected. So
//! - who grants a pre-vote saves the vote that it is about to be asked for, before it answers. A pre-vote that comes too
//!   late for that is asked again, for the same term, and then finds it saved. The candidate does the same once somebody
//!   would elect it;
//! - what the disk holds already is not written again;
//! - that the node voted for has won is not waited for: it is nothing that the node must not forget.
//!
//! A vote that is only prepared binds nobody: openraft has not given it, and may give another in that term, which then
//! replaces it. While one is on the disk, votes of earlier terms need not be saved: it rules out all that they rule out.
//!
//! Nor does it harm a node that reads it after a crash: that one believes that it has voted, and does not vote again. But
//! whom it was for must not be told to others. A candidate that prepared a later term and then won the earlier one leads, and
//! a follower that told it of its own name in that later term would make it neither leader nor follower: openraft takes such
//! a vote for the leader's own candidacy, and a leader that is none does not campaign. So a restarted node says that the vote
//! was for itself, which keeps it from voting as well, and makes the leader stand down.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::planted::{self, Bug};
use crate::raft::log_store::{completed, completion};
use crate::raft::type_config::{RaftVote, hard_state};
use crate::storage::{Done, HardState, Log};
use crate::types::NodeId;

/// See the module.
pub(crate) struct Votes {
    log: Log,
    order: Mutex<Order>,
    /// How many saves are done.
    saved: Arc<AtomicU64>,
}

/// In which order votes went to the log.
#[derive(Clone, Copy)]
struct Order {
    /// The last one.
    newest: Option<HardState>,
    /// The last one that openraft asked for.
    given: Option<HardState>,
    /// How many saves the log was asked for.
    queued: u64,
}

/// What saving a vote takes.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// This must be on disk.
    wait_for: HardState,
    /// And this gets there some time.
    then: Option<HardState>,
}

impl Order {
    /// This vote is found at the start.
    fn found(saved: Option<HardState>, own_id: NodeId) -> Order {
        let given = saved
            .map(|vote| HardState { voted_for: vote.voted_for.filter(|_| vote.committed).or(Some(own_id)), ..vote });
        Order { newest: saved, given, queued: 0 }
    }

    /// Openraft gives this vote.
    fn give(&mut self, vote: HardState) -> Step {
        self.given = Some(vote);
        match self.newest {
            Some(newest) if newest.term > vote.term => Step { wait_for: newest, then: None },
            Some(newest) if newest.term == vote.term && newest.voted_for == vote.voted_for => {
                let then = (vote.committed && !newest.committed).then_some(vote);
                self.newest = then.or(Some(newest));
                Step { wait_for: newest, then }
            }
            _ => {
                self.newest = Some(vote);
                Step { wait_for: vote, then: None }
            }
        }
    }

    /// This vote may be given soon; `false` if that is not to be thought of.
    fn prepare(&mut self, vote: HardState) -> bool {
        let is_later = |than: Option<HardState>| than.is_none_or(|than| than.term < vote.term);
        let is_news = is_later(self.newest) || self.newest.is_some_and(|newest| newest.term == vote.term);
        let is_open = is_later(self.given) && is_news;
        if is_open {
            self.newest = Some(vote);
        }
        is_open
    }
}

impl Votes {
    /// The votes of this log of node `own_id`, as it was opened.
    pub(crate) fn new(log: Log, own_id: NodeId) -> Votes {
        let saved = log.hard_state().filter(|_| !planted::is(Bug::ForgottenVote));
        let order = Mutex::new(Order::found(saved, own_id));
        Votes { log, order, saved: Arc::default() }
    }

    /// The vote that openraft gave last, or the one that was found at the start.
    pub(crate) fn given(&self) -> Option<HardState> {
        self.order().given
    }

    /// Saves a vote that openraft gives.
    ///
    /// # Errors
    /// When the log has failed.
    pub(crate) async fn give(&self, vote: &RaftVote) -> io::Result<()> {
        let waiting = {
            let mut order = self.order();
            let before = order.newest;
            let Step { wait_for, then } = order.give(hard_state(vote));
            let waiting = self.save(&mut order, before, wait_for)?;
            if let Some(then) = then {
                // A failure stops the node, whoever waits.
                drop(self.save(&mut order, before, then)?);
            }
            waiting
        };
        waiting.await
    }

    /// Saves a vote that is about to be asked for; returns once it is saved, or there is no use in it.
    ///
    /// # Errors
    /// When the log has failed.
    pub(crate) async fn prepare(&self, vote: &RaftVote) -> io::Result<()> {
        let mut vote = hard_state(vote);
        vote.committed = false;
        let waiting = {
            let mut order = self.order();
            let before = order.newest;
            if !order.prepare(vote) {
                return Ok(());
            }
            self.save(&mut order, before, vote)?
        };
        waiting.await
    }

    /// Under the lock, so that the log gets votes in the order in which they were decided on. `before` is the last one
    /// that it got.
    fn save(
        &self,
        order: &mut Order,
        before: Option<HardState>,
        vote: HardState,
    ) -> io::Result<impl Future<Output = io::Result<()>> + use<>> {
        let is_saved = before == Some(vote) && self.saved.load(Ordering::SeqCst) == order.queued;
        let mut receiver = None;
        if !is_saved {
            let (done, completed) = completion();
            let saved = self.saved.clone();
            let done: Done = Box::new(move |result| {
                saved.fetch_add(u64::from(result.is_ok()), Ordering::SeqCst);
                done(result);
            });
            self.log.save_hard_state(vote, done).map_err(io::Error::other)?;
            order.queued += 1;
            receiver = Some(completed);
        }
        Ok(async move {
            match receiver {
                Some(receiver) => completed(receiver).await,
                None => Ok(()),
            }
        })
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Term;

    fn vote(term: u64, node: u64, committed: bool) -> HardState {
        HardState { term: Term(term), voted_for: Some(NodeId(node)), committed }
    }

    fn order() -> Order {
        let saved = Some(vote(4, 1, true));
        Order { newest: saved, given: saved, queued: 0 }
    }

    #[test]
    fn a_prepared_vote_is_there_when_it_is_given() {
        let mut order = order();
        assert!(order.prepare(vote(5, 2, false)));
        assert_eq!(order.give(vote(5, 2, false)), Step { wait_for: vote(5, 2, false), then: None });
        let won = order.give(vote(5, 2, true));
        assert_eq!(won, Step { wait_for: vote(5, 2, false), then: Some(vote(5, 2, true)) });
        assert_eq!(order.give(vote(5, 2, true)), Step { wait_for: vote(5, 2, true), then: None });
    }

    // Found under simulation: a leader was told of its own candidacy of a later term, which it had only prepared, by a voter
    // that had restarted, and went on as a leader that nobody followed.
    #[test]
    fn a_restarted_node_names_nobody_else_as_the_one_it_voted_for() {
        let own_id = NodeId(3);
        let found = Order::found(Some(vote(5, 2, false)), own_id);
        assert_eq!((found.newest, found.given), (Some(vote(5, 2, false)), Some(vote(5, 3, false))));
        let found = Order::found(Some(vote(5, 2, true)), own_id);
        assert_eq!(found.given, Some(vote(5, 2, true)), "who has won is known to all");
        assert_eq!(Order::found(None, own_id).given, None);
    }

    #[test]
    fn another_vote_in_the_term_replaces_one_that_was_only_prepared() {
        let mut order = order();
        assert!(order.prepare(vote(5, 2, false)) && order.prepare(vote(5, 3, false)));
        assert_eq!(order.give(vote(5, 1, false)), Step { wait_for: vote(5, 1, false), then: None });
        assert!(!order.prepare(vote(5, 2, false)), "a vote that was given stands");
        assert!(!order.prepare(vote(4, 2, false)));
        assert_eq!(order.newest, Some(vote(5, 1, false)));
    }

    #[test]
    fn an_earlier_term_waits_for_the_later_vote_that_is_prepared() {
        let mut order = order();
        assert!(order.prepare(vote(7, 2, false)));
        assert_eq!(order.give(vote(6, 3, true)), Step { wait_for: vote(7, 2, false), then: None });
        assert!(!order.prepare(vote(6, 2, false)));
        assert_eq!(order.give(vote(8, 3, true)), Step { wait_for: vote(8, 3, true), then: None });
    }

    #[test]
    fn the_winner_of_a_term_in_which_another_got_the_vote_is_waited_for() {
        let mut order = order();
        order.give(vote(5, 2, false));
        assert_eq!(order.give(vote(5, 3, true)), Step { wait_for: vote(5, 3, true), then: None });
    }
}
