//! Which members are known to follow this leader still, for read points (hazards 33).
//!
//! ```text
//!   read begins at moment 7 ──► heartbeats leave at moments >= 7 ──► their answers confirm it, and no others do
//! ```
//! openraft takes an answer `matched = m` as the answer to every request whose last entry is at or before `m`. A request
//! without entries has the same last entry as the one before it, so the answer to an old request also counts for a newer
//! one that was never answered, perhaps never sent; meanwhile another leader may have acknowledged what the read must see.
//! Heartbeats are answered in order on a connection of their own, so each answer is matched with its own request here,
//! and a read waits until a majority of each config of voters has answered one that was sent after the read began.
//!
//! Moments are counted instead of timed: what happens at the same instant has an order too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::raft::type_config::RaftVote;
use crate::types::NodeId;

/// A point in the order of reads and requests of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// What followers have answered; see the module.
#[derive(Debug, Default)]
pub(crate) struct Confirmations {
    now: AtomicU64,
    heard: watch::Sender<Heard>,
}

/// Per member, when the newest request was sent that it answered under this vote.
#[derive(Debug, Default)]
struct Heard {
    vote: Option<RaftVote>,
    sent: BTreeMap<NodeId, Moment>,
}

/// Another node leads, or this one in a later term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superseded;

impl Confirmations {
    /// The moment of a read that begins now: after everything that was sent before.
    pub(crate) fn begin(&self) -> Moment {
        Moment(self.now.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// The moment of a request that is sent now; to be called before its first byte leaves.
    pub(crate) fn sending(&self) -> Moment {
        Moment(self.now.load(Ordering::SeqCst))
    }

    /// A member has answered the request that was sent at this moment under this vote, and follows it.
    pub(crate) fn confirm(&self, vote: &RaftVote, member: NodeId, sent: Moment) {
        self.heard.send_if_modified(|heard| {
            if heard.vote.is_some_and(|newest| newest > *vote) {
                return false;
            }
            if heard.vote != Some(*vote) {
                *heard = Heard { vote: Some(*vote), sent: BTreeMap::new() };
            }
            let newest = heard.sent.entry(member).or_insert(sent);
            *newest = (*newest).max(sent);
            true
        });
    }

    /// Waits until a majority of each of these configs, this node included, has answered under `vote` what was sent at or
    /// after `began`. Waits for ever if none does.
    ///
    /// # Errors
    /// When a later vote of this node was answered meanwhile.
    pub(crate) async fn confirmed(
        &self,
        began: Moment,
        vote: RaftVote,
        own: NodeId,
        configs: &[BTreeSet<NodeId>],
    ) -> Result<(), Superseded> {
        let mut heard = self.heard.subscribe();
        let decided = heard.wait_for(|heard| heard.is_later(&vote) || heard.covers(began, &vote, own, configs));
        let decided = decided.await.expect("the sender is here");
        if decided.is_later(&vote) { Err(Superseded) } else { Ok(()) }
    }
}

impl Heard {
    fn is_later(&self, vote: &RaftVote) -> bool {
        self.vote.is_some_and(|newest| newest > *vote)
    }

    fn covers(&self, began: Moment, vote: &RaftVote, own: NodeId, configs: &[BTreeSet<NodeId>]) -> bool {
        let has_answered =
            |member: &NodeId| self.vote == Some(*vote) && self.sent.get(member).is_some_and(|sent| *sent >= began);
        configs.iter().all(|config| {
            let count = config.iter().filter(|member| **member == own || has_answered(member)).count();
            count * 2 > config.len()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use openraft::impls::leader_id_std::LeaderId;

    const OWN: NodeId = NodeId(1);

    fn vote(term: u64) -> RaftVote {
        openraft::Vote { leader_id: LeaderId { term, voted_for: OWN }, committed: true }
    }

    fn config<const N: usize>(ids: [u64; N]) -> BTreeSet<NodeId> {
        ids.map(NodeId).into()
    }

    fn outcome(
        of: &Confirmations,
        began: Moment,
        term: u64,
        configs: &[BTreeSet<NodeId>],
    ) -> Option<Result<(), Superseded>> {
        of.confirmed(began, vote(term), OWN, configs).now_or_never()
    }

    #[test]
    fn an_answer_to_what_was_sent_before_the_read_confirms_nothing() {
        let of = Confirmations::default();
        let three = [config([1, 2, 3])];
        let sent_before = of.sending();
        let began = of.begin();
        of.confirm(&vote(4), NodeId(2), sent_before);
        assert_eq!(outcome(&of, began, 4, &three), None, "it was on its way when the read began");
        of.confirm(&vote(4), NodeId(2), of.sending());
        assert_eq!(outcome(&of, began, 4, &three), Some(Ok(())));
        let later = of.begin();
        assert_eq!(outcome(&of, later, 4, &three), None, "a later read needs an answer of its own");
        of.confirm(&vote(4), NodeId(2), sent_before);
        assert_eq!(outcome(&of, began, 4, &three), Some(Ok(())), "an old answer takes nothing back");
    }

    #[test]
    fn every_config_of_voters_needs_its_majority_and_learners_are_none() {
        let of = Confirmations::default();
        let joint = [config([1, 2, 3]), config([3, 4, 5])];
        let began = of.begin();
        of.confirm(&vote(4), NodeId(2), of.sending());
        of.confirm(&vote(4), NodeId(9), of.sending());
        assert_eq!(outcome(&of, began, 4, &joint), None, "the new config has not answered");
        of.confirm(&vote(4), NodeId(4), of.sending());
        assert_eq!(outcome(&of, began, 4, &joint), None, "this node is no voter of the new config");
        of.confirm(&vote(4), NodeId(5), of.sending());
        assert_eq!(outcome(&of, began, 4, &joint), Some(Ok(())));
        assert_eq!(outcome(&of, of.begin(), 4, &[config([1])]), Some(Ok(())), "a single voter asks nobody");
    }

    #[test]
    fn answers_under_another_vote_do_not_count() {
        let of = Confirmations::default();
        let three = [config([1, 2, 3])];
        let began = of.begin();
        of.confirm(&vote(4), NodeId(2), of.sending());
        assert_eq!(outcome(&of, began, 5, &three), None);
        of.confirm(&vote(5), NodeId(3), of.sending());
        assert_eq!(outcome(&of, began, 4, &three), Some(Err(Superseded)), "the term that began the read is over");
        of.confirm(&vote(4), NodeId(2), of.sending());
        assert_eq!(outcome(&of, began, 5, &three), Some(Ok(())), "a late answer of the old term removes nothing");
    }
}
