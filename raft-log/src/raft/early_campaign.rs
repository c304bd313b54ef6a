//! A campaign as soon as the leader's process is known to be dead, instead of after the lease (hazards 12).
//!
//! ```text
//!   leader lost ─► look: does it lead? ─► no: gone ─► short random wait ─► look again ─► ask all voters: would you elect
//!                     │ yes: calm            ▲  calm again, or another asked first: stop   │ me? a quorum would: campaign
//!                     └─ no answer: wait     └──────── no, some still hear the leader ◄────┘
//! ```
//! openraft counts on the lease: inside it a follower does not campaign and a voter refuses, so that a healthy leader is
//! not deposed by a node that has lost only its own connection. That rule stands. A voter looks past its lease on its own
//! evidence alone: the connections of the very leader that its vote names are closed ([`LeaderWatch`]), and it has looked
//! there since and found that nobody leads (hazards 38). One that still hears the leader refuses, and a false alarm leaves
//! nothing changed. The campaign itself goes through openraft's door for a transfer, with the lost leader as the giver: it
//! counts only while the vote is still that leader's.
//!
//! What looking finds:
//! | at the leader's address | it is |
//! |---|---|
//! | it says that it leads | alive: the connections were closed by something between |
//! | the connection is refused, its host cannot be reached | gone |
//! | it says that it does not lead, or takes no part in the group yet | gone: another life of that process |
//! | silence, or the connection breaks again | unknown: the lease decides |
//!
//! (The same door with another node's id would drop a voter's lease beforehand. It stays dropped for the rest of the term,
//! false alarm or not; hence the question above instead.) No safety rests on any of this: votes decide who leads.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{TransferLeaderRequest, VoteRequest, VoteResponse};
use tokio::time::Instant;

use crate::env::Env;
use crate::membership::MemberNode;
use crate::planted::{self, Bug};
use crate::raft::core::RaftCore;
use crate::raft::network::leader_watch::{Found, LeaderWatch};
use crate::raft::network::link::LinkFactory;
use crate::raft::type_config::{RaftVote, TypeConfig};
use crate::raft::vote_gate::VoteGate;
use crate::types::NodeId;

/// The wait before a campaign is at least this long: the connections of a dead leader close within it at all voters.
const WAIT_MIN: Duration = Duration::from_millis(20);
/// And at most this much longer: two voters seldom ask at the same time.
const WAIT_SPREAD: Duration = Duration::from_millis(100);
/// After it has said that it would elect another, a node leaves the field to it for this long.
const YIELD: Duration = Duration::from_millis(300);
/// A voter that has not answered by then would not.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(300);
/// Rounds of questions; after that the lease is over, and openraft campaigns by itself.
const ROUNDS_MAX: usize = 10;
/// A look that breaks off is repeated so often at once: a process that ends may take a last connection.
const LOOKS_MAX: usize = 3;
/// And after this long.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
/// After it has deposed a leader, a node does not do so again for this long. Whatever closes connections and then refuses
/// them for a moment must not make leaders change at its pace.
const CAMPAIGN_PAUSE: Duration = Duration::from_secs(3);

/// What a voter goes by when it is asked; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Evidence {
    pub(crate) watch: LeaderWatch,
    yielded: Arc<Mutex<Option<Instant>>>,
}

impl Evidence {
    /// The answer to a pre-vote, if this node has lost the leader that its vote names: what openraft would answer once
    /// the lease is over. `None` leaves the answer to openraft.
    pub(crate) async fn pre_vote(
        &self,
        raft: &RaftCore,
        request: &VoteRequest<TypeConfig>,
    ) -> io::Result<Option<VoteResponse<TypeConfig>>> {
        let Some(lost) = self.watch.gone() else { return Ok(None) };
        let request = request.clone();
        let answer = raft.with_raft_state(move |state| {
            let (vote, last) = (*state.vote_ref(), state.log_ids.last().copied());
            let granted = request.last_log_id >= last && request.vote.leader_id.term > vote.leader_id.term;
            leads(&vote, lost).then(|| VoteResponse::new(vote, last, granted))
        });
        answer.await.map_err(io::Error::other)
    }

    /// This node has said that it would elect another in place of the leader that it misses.
    pub(crate) fn give_way(&self) {
        *self.yielded.lock().expect("no holder of this lock panics") = Some(Instant::now());
    }

    fn yields(&self) -> bool {
        self.yielded.lock().expect("no holder of this lock panics").is_some_and(|at| at.elapsed() < YIELD)
    }
}

/// Whether this vote is that of an elected leader, and this node it.
fn leads(vote: &RaftVote, node: NodeId) -> bool {
    vote.committed && vote.leader_id.voted_for == node
}

/// What a campaign needs of its node.
pub(crate) struct EarlyCampaign {
    pub(crate) id: NodeId,
    pub(crate) env: Env,
    pub(crate) raft: RaftCore,
    pub(crate) links: LinkFactory,
    pub(crate) gate: VoteGate,
    pub(crate) evidence: Evidence,
}

/// The question to all voters, and whose grants are enough.
struct Ballot {
    request: VoteRequest<TypeConfig>,
    /// The vote of the lost leader, which must still stand.
    lost: RaftVote,
    configs: Vec<BTreeSet<NodeId>>,
    others: BTreeMap<NodeId, MemberNode>,
}

impl EarlyCampaign {
    /// Watches for the life of the core.
    pub(crate) async fn run(mut self) {
        let mut lost = self.evidence.watch.watch_lost();
        let mut campaigned: Option<Instant> = None;
        while lost.wait_for(Option::is_some).await.is_ok() {
            let may_campaign = campaigned.is_none_or(|at| at.elapsed() >= CAMPAIGN_PAUSE);
            let mut calm = lost.clone();
            // A look or a question that is under way when the leader is heard again is given up.
            let ended = tokio::select! {
                _ = calm.wait_for(Option::is_none) => false,
                ended = self.attend(may_campaign) => ended,
            };
            if ended {
                campaigned = Some(Instant::now());
            }
            // Whatever came of it: the next time this leader is lost, or another.
            if lost.wait_for(Option::is_none).await.is_err() {
                return;
            }
        }
    }

    /// Looks and asks until it has campaigned, which it says, or the lease is over.
    async fn attend(&mut self, may_campaign: bool) -> bool {
        self.look().await;
        for _ in 0..ROUNDS_MAX {
            tokio::time::sleep(WAIT_MIN + self.random(WAIT_SPREAD)).await;
            if self.look().await != Found::Gone || !may_campaign || self.evidence.yields() || !self.gate.may_lead() {
                continue;
            }
            let Ok(Some(ballot)) = self.ballot().await else { return false };
            if self.would_win(&ballot).await && !self.evidence.yields() {
                tracing::info!(lost = %ballot.lost, "the leader's process is gone; campaigning");
                let taken_over = TransferLeaderRequest::new(ballot.lost, self.id, None);
                // It fails only if the core stops.
                drop(self.raft.handle_transfer_leader(taken_over).await);
                return true;
            }
        }
        false
    }

    /// Looks whether the lost leader still leads, and notes what is found for the others that ask this node.
    async fn look(&mut self) -> Found {
        let Some(leader) = self.evidence.watch.lost() else { return Found::Unknown };
        let known = self.raft.with_raft_state(move |state| {
            let node = state.membership_state.effective().membership().get_node(&leader).cloned();
            (*state.vote_ref(), node)
        });
        let Ok((vote, Some(node))) = known.await else { return Found::Unknown };
        if planted::is(Bug::ClosedTakenForDead) {
            self.evidence.watch.looked(leader, false);
            return Found::Gone;
        }
        let mut found = Found::Unknown;
        for _ in 0..LOOKS_MAX {
            let link = self.links.new_client(leader, &node).await;
            found = match link.leads(vote, ANSWER_TIMEOUT).await {
                Some(found) => found,
                None => {
                    tokio::time::sleep(LOOK_PAUSE).await;
                    continue;
                }
            };
            break;
        }
        match found {
            Found::Leads => {
                tracing::info!(%leader, "the leader's connections were closed, but it leads");
                self.evidence.watch.looked(leader, true);
            }
            Found::Gone => self.evidence.watch.looked(leader, false),
            Found::Unknown => {}
        }
        found
    }

    fn random(&self, below: Duration) -> Duration {
        let nanos = u64::try_from(below.as_nanos()).expect("short");
        Duration::from_nanos(self.env.rng.next_u64() % nanos)
    }

    /// The question, if this node is a voter whose vote is that of the lost leader.
    async fn ballot(&self) -> io::Result<Option<Ballot>> {
        let Some(lost) = self.evidence.watch.lost() else { return Ok(None) };
        let own = self.id;
        let ballot = self.raft.with_raft_state(move |state| {
            let vote = *state.vote_ref();
            let membership = state.membership_state.effective().membership();
            let is_voter = membership.voter_ids().any(|voter| voter == own);
            let mut asked = vote;
            asked.committed = false;
            asked.leader_id.term = vote.leader_id.term.saturating_add(1);
            asked.leader_id.voted_for = own;
            let others = membership.voter_ids().filter(|voter| *voter != own && *voter != lost);
            let others = others.filter_map(|voter| Some((voter, membership.get_node(&voter)?.clone())));
            (is_voter && leads(&vote, lost)).then(|| Ballot {
                request: VoteRequest::new(asked, state.log_ids.last().copied()),
                lost: vote,
                configs: membership.get_joint_config().clone(),
                others: others.collect(),
            })
        });
        ballot.await.map_err(io::Error::other)
    }

    /// Asks all voters but the lost leader; returns as soon as a quorum has granted, or all have answered.
    async fn would_win(&mut self, ballot: &Ballot) -> bool {
        let mut answers = FuturesUnordered::new();
        for (id, node) in &ballot.others {
            let mut link = self.links.new_client(*id, node).await;
            let request = ballot.request.clone();
            answers.push(async move {
                let answer = link.pre_vote(request, RPCOption::new(ANSWER_TIMEOUT)).await;
                answer.is_ok_and(|answer| answer.vote_granted).then_some(*id)
            });
        }
        let mut granted = BTreeSet::from([self.id]);
        while !is_quorum(&ballot.configs, &granted) {
            match answers.next().await {
                Some(answer) => granted.extend(answer),
                None => return false,
            }
        }
        true
    }
}

/// Whether these nodes are a majority of each config.
fn is_quorum(configs: &[BTreeSet<NodeId>], granted: &BTreeSet<NodeId>) -> bool {
    configs.iter().all(|config| config.intersection(granted).count() * 2 > config.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes<const N: usize>(ids: [u64; N]) -> BTreeSet<NodeId> {
        ids.map(NodeId).into()
    }

    #[test]
    fn a_quorum_is_a_majority_of_each_config() {
        let joint = [nodes([1, 2, 3]), nodes([3, 4, 5])];
        assert!(is_quorum(&joint[..1], &nodes([1, 2])));
        assert!(!is_quorum(&joint[..1], &nodes([1, 4, 5])));
        assert!(!is_quorum(&joint, &nodes([1, 2, 4])));
        assert!(is_quorum(&joint, &nodes([1, 3, 4])));
        assert!(!is_quorum(&[nodes([1, 2, 3, 4])], &nodes([1, 2])));
    }
}
