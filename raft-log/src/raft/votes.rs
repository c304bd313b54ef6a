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
//! Two candidates that ask each other at the same time would each prepare the other's vote, then replace it by its own, round
//! after round, and none of these saves would be there when it is needed. So of the votes of one term that are prepared, the
//! one with the longer log behind it stands, of equal ones that of the greater id: for a while the others are told that they
//! would not be elected.
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
use std::time::Duration;

use futures::future::Either;
use openraft::raft::VoteRequest;
use tokio::time::Instant;

use crate::planted::{self, Bug};
use crate::raft::completion::{completed, completion};
use crate::raft::type_config::{RaftLogId, RaftVote, TypeConfig, hard_state};
use crate::storage::{Done, HardState, Log};
use crate::types::NodeId;

/// So long, counted from when it asked first, a candidate is preferred: its vote is saved by then at all who would elect
/// it, and its campaign is over, on disks whose syncs take 200 ms as well. If it does not win until then it may not be able to.
const PREFERENCE: Duration = Duration::from_secs(1);

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
    /// Who asked last, or whose vote was prepared last.
    preferred: Option<Candidate>,
}

/// One who asks for a vote of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    vote: HardState,
    last_log_id: Option<RaftLogId>,
    /// When it asked first.
    since: Instant,
}

/// What comes of the wish to prepare a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preparation {
    /// It is to be saved.
    Save,
    /// There is no use in it.
    Useless,
    /// Another candidate is preferred.
    Refused,
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
        Order { newest: saved, given, queued: 0, preferred: None }
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

    /// This vote may be given soon.
    fn prepare(&mut self, vote: HardState, last_log_id: Option<RaftLogId>, now: Instant) -> Preparation {
        let is_later = |than: Option<HardState>| than.is_none_or(|than| than.term < vote.term);
        let is_news = is_later(self.newest) || self.newest.is_some_and(|newest| newest.term == vote.term);
        if !is_later(self.given) || !is_news {
            return Preparation::Useless;
        }
        if !self.prefer(vote, last_log_id, now) {
            return Preparation::Refused;
        }
        self.newest = Some(vote);
        Preparation::Save
    }

    /// Notes a candidate; `false` if another is preferred.
    fn prefer(&mut self, vote: HardState, last_log_id: Option<RaftLogId>, now: Instant) -> bool {
        let mut candidate = Candidate { vote, last_log_id, since: now };
        if let Some(preferred) = self.preferred.filter(|preferred| preferred.vote.term == vote.term) {
            if preferred.vote == vote {
                candidate.since = preferred.since;
            } else if preferred.rank() > candidate.rank() && now < preferred.since + PREFERENCE {
                return false;
            }
        }
        self.preferred = Some(candidate);
        true
    }
}

impl Candidate {
    fn rank(&self) -> (Option<RaftLogId>, Option<NodeId>) {
        (self.last_log_id, self.vote.voted_for)
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

    /// This node asks whether it would be elected.
    pub(crate) fn stand(&self, asked: &VoteRequest<TypeConfig>) {
        let vote = prepared(&asked.vote);
        // Where another is preferred, that one is told so; this one finds out by the answers.
        let _preferred = self.order().prefer(vote, asked.last_log_id, Instant::now());
    }

    /// Saves the vote that whoever asks would get; what is returned waits until it is saved, at once if there is no use in
    /// it. `None` if whoever asks should not get it now, since another candidate is preferred.
    ///
    /// # Errors
    /// When the log has failed.
    pub(crate) fn prepare(
        &self,
        asked: &VoteRequest<TypeConfig>,
    ) -> io::Result<Option<impl Future<Output = io::Result<()>> + use<>>> {
        let vote = prepared(&asked.vote);
        let mut order = self.order();
        let before = order.newest;
        Ok(match order.prepare(vote, asked.last_log_id, Instant::now()) {
            Preparation::Save => Some(Either::Left(self.save(&mut order, before, vote)?)),
            Preparation::Useless => Some(Either::Right(std::future::ready(Ok(())))),
            Preparation::Refused => None,
        })
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
            // Counted before: a log that takes it no more has not saved it, however often it is asked for.
            order.queued += 1;
            self.log.save_hard_state(vote, done).map_err(io::Error::other)?;
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

/// The vote that whoever asks so would get.
fn prepared(asked: &RaftVote) -> HardState {
    HardState { committed: false, ..hard_state(asked) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::{Fault, FaultKind, SimEnv};
    use crate::raft::type_config::{raft_log_id, raft_vote};
    use crate::storage::{Record, RecordKind, StorageOptions};
    use crate::types::{GroupId, LogId, LogIndex, Term};
    use bytes::Bytes;

    fn vote(term: u64, node: u64, committed: bool) -> HardState {
        HardState { term: Term(term), voted_for: Some(NodeId(node)), committed }
    }

    /// An order, and the time.
    fn order() -> (Order, Instant) {
        let saved = Some(vote(4, 1, true));
        (Order { newest: saved, given: saved, queued: 0, preferred: None }, Instant::now())
    }

    fn prepares(order: &mut Order, vote: HardState, now: Instant) -> bool {
        order.prepare(vote, None, now) == Preparation::Save
    }

    // Found under simulation: the log had just failed and the node had not stopped yet; a vote that it could not save was granted
    // when it was asked for again.
    #[tokio::test]
    async fn a_vote_that_the_log_did_not_take_is_never_taken_for_saved() {
        let sim = SimEnv::new(1);
        let (log, mut stepper, _) = Log::open_stepped(sim.env(), StorageOptions::new("/d", GroupId(1))).unwrap();
        log.save_hard_state(vote(4, 1, true), Box::new(drop)).unwrap();
        stepper.step();
        let votes = Votes::new(log.clone(), NodeId(1));
        sim.disk.order(Fault::once(FaultKind::Write, ""));
        let id = LogId { term: Term(4), index: LogIndex(0) };
        log.append(vec![Record::new(id, RecordKind::Command, 1, Bytes::new())], Box::new(drop)).unwrap();
        stepper.step();
        assert!(log.failure().borrow().is_some());

        let asked = VoteRequest::new(raft_vote(vote(5, 2, false)), None);
        assert!(votes.prepare(&asked).is_err());
        assert!(votes.prepare(&asked).is_err(), "asked again");
        assert!(votes.give(&asked.vote).await.is_err());
        assert!(votes.give(&asked.vote).await.is_err());
    }

    #[test]
    fn a_prepared_vote_is_there_when_it_is_given() {
        let (mut order, now) = order();
        assert!(prepares(&mut order, vote(5, 2, false), now));
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
        let (mut order, now) = order();
        assert!(prepares(&mut order, vote(5, 2, false), now) && prepares(&mut order, vote(5, 3, false), now));
        assert_eq!(order.give(vote(5, 1, false)), Step { wait_for: vote(5, 1, false), then: None });
        assert!(!prepares(&mut order, vote(5, 2, false), now), "a vote that was given stands");
        assert!(!prepares(&mut order, vote(4, 2, false), now));
        assert_eq!(order.newest, Some(vote(5, 1, false)));
    }

    #[test]
    fn an_earlier_term_waits_for_the_later_vote_that_is_prepared() {
        let (mut order, now) = order();
        assert!(prepares(&mut order, vote(7, 2, false), now));
        assert_eq!(order.give(vote(6, 3, true)), Step { wait_for: vote(7, 2, false), then: None });
        assert!(!prepares(&mut order, vote(6, 2, false), now));
        assert_eq!(order.give(vote(8, 3, true)), Step { wait_for: vote(8, 3, true), then: None });
    }

    #[test]
    fn the_winner_of_a_term_in_which_another_got_the_vote_is_waited_for() {
        let (mut order, _) = order();
        order.give(vote(5, 2, false));
        assert_eq!(order.give(vote(5, 3, true)), Step { wait_for: vote(5, 3, true), then: None });
    }

    #[test]
    fn of_two_candidates_the_one_with_the_longer_log_or_greater_id_is_preferred_for_a_while() {
        let (mut order, now) = order();
        let last = |index| Some(raft_log_id(LogId { term: Term(4), index: LogIndex(index) }));
        assert!(prepares(&mut order, vote(5, 3, false), now));
        assert_eq!(order.prepare(vote(5, 2, false), None, now), Preparation::Refused);
        assert!(prepares(&mut order, vote(5, 3, false), now + PREFERENCE / 2), "who is preferred may ask again");
        let over = now + PREFERENCE;
        assert!(prepares(&mut order, vote(5, 2, false), over), "and does not stay so by asking");
        assert!(prepares(&mut order, vote(5, 3, false), over));
        assert_eq!(order.prepare(vote(5, 1, false), last(7), over), Preparation::Save);
        assert_eq!(order.prepare(vote(5, 3, false), last(6), over), Preparation::Refused);
        assert_eq!(order.prepare(vote(6, 1, false), None, over), Preparation::Save, "another term");
    }
}
