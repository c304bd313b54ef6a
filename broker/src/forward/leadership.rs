//! Where the leader is, and waiting for one while an election runs.

use std::time::Duration;

use raft_log::{
    Status,
    types::{NodeId, Term},
};
use tokio::{sync::watch, time::Instant};

use super::line::Line;
use crate::held_bytes::HeldBytes;

/// Where a request that needs the leader is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This node leads and its state is current.
    Here,
    /// Another node leads.
    At {
        /// Which.
        node: NodeId,
        /// Its advertised client address.
        client: String,
    },
}

/// What matters here of a status; changes rarely, unlike the status itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    place: Option<Place>,
    term: Term,
}

/// The leadership as this node knows it.
pub struct Leadership {
    standing: watch::Receiver<Standing>,
    waiting: HeldBytes,
}

impl Leadership {
    /// Follows this status, on the current runtime, until its sender is gone. Requests that wait for a leader hold at
    /// most `waiting_bytes_max` together.
    pub fn follow(mut status: watch::Receiver<Status>, waiting_bytes_max: usize) -> Leadership {
        let (sender, standing) = watch::channel(standing_of(&status.borrow_and_update()));
        tokio::spawn(async move {
            while status.changed().await.is_ok() {
                let new = standing_of(&status.borrow_and_update());
                sender.send_if_modified(|old| std::mem::replace(old, new.clone()) != new);
            }
        });
        Leadership { standing, waiting: HeldBytes::new(waiting_bytes_max) }
    }

    /// Whether this node leads and its state is current.
    pub fn serves(&self) -> bool {
        self.standing.borrow().place == Some(Place::Here)
    }

    /// The current term.
    pub fn term(&self) -> Term {
        self.standing.borrow().term
    }

    /// Returns when this node leads and its state is current, with the term; never if the replica is gone.
    pub async fn gained(&self) -> Term {
        let mut standing = self.standing.clone();
        let gained = standing.wait_for(|standing| standing.place == Some(Place::Here)).await.map(|now| now.term);
        match gained {
            Ok(term) => term,
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns when this node does not lead, or not in this term.
    pub async fn lost(&self, term: Term) {
        let leads = |standing: &Standing| standing.place == Some(Place::Here) && standing.term == term;
        // An error: the replica is gone, and its leadership with it.
        let _ = self.standing.clone().wait_for(|standing| !leads(standing)).await;
    }

    /// Where the leader is, as far as this node knows.
    pub fn place(&self) -> Option<Place> {
        self.standing.borrow().place.clone()
    }

    /// Where the leader is, waiting for one until `until`. A request that was forwarded already is done here or not
    /// at all. `bytes` is what a request of this line holds while it waits; beyond the bound it does not wait.
    pub async fn find(&self, forwarded: bool, (bytes, line): (usize, Line), until: Instant) -> Option<Place> {
        let acceptable = |standing: &Standing| match &standing.place {
            Some(Place::At { .. }) if forwarded => None,
            place => place.clone(),
        };
        if let Some(place) = acceptable(&self.standing.borrow()) {
            return Some(place);
        }
        let _waiting = line.hold(bytes, &self.waiting)?;
        let mut standing = self.standing.clone();
        let found = tokio::time::timeout_at(until, standing.wait_for(|standing| acceptable(standing).is_some())).await;
        acceptable(&*found.ok()?.ok()?)
    }

    /// Returns when the leader is no longer at this place, at `until` at the latest, or after a short while: for a
    /// leader that this node still believes in, and that cannot be reached or says that it leads no longer.
    pub async fn settle(&self, gone: Option<&Place>, until: Instant) {
        const LOOK_AGAIN: Duration = Duration::from_millis(100);
        let mut standing = self.standing.clone();
        let wake = until.min(Instant::now() + LOOK_AGAIN);
        let changed = standing.wait_for(|standing| standing.place.as_ref() != gone);
        let _ = tokio::time::timeout_at(wake, changed).await;
    }

    /// Returns when the leader is no longer at this place and the old one has had a moment to answer what it was sent: one
    /// that handed over does, one that is stopped or cut off does not.
    pub async fn moved(&self, from: &Place) {
        const LAST_WORDS: Duration = Duration::from_millis(100);
        let mut standing = self.standing.clone();
        // An error: the replica is gone; what was sent is left to its deadline.
        if standing.wait_for(|standing| standing.place.as_ref() != Some(from)).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(LAST_WORDS).await;
    }
}

fn standing_of(status: &Status) -> Standing {
    Standing { place: place_of(status), term: status.term }
}

fn place_of(status: &Status) -> Option<Place> {
    if status.serving {
        return Some(Place::Here);
    }
    let leader = status.leader.filter(|leader| *leader != status.node_id)?;
    let client = status.member(leader)?.addresses.client.clone();
    (!client.is_empty()).then_some(Place::At { node: leader, client })
}

#[cfg(test)]
pub(super) mod tests {
    use raft_log::{Member, NodeAddresses, Role};

    use super::*;

    fn status(leader: Option<u64>, serving: bool) -> Status {
        status_at(leader, serving, |id| format!("h:{id}"))
    }

    /// What node 1 of two knows; `client` names the nodes' client addresses.
    pub(in crate::forward) fn status_at(leader: Option<u64>, serving: bool, client: impl Fn(u64) -> String) -> Status {
        let member = |id| {
            let addresses = NodeAddresses { peer: String::new(), client: client(id), http: String::new() };
            Member::new(NodeId(id), addresses, true)
        };
        Status {
            role: if serving { Role::Leader } else { Role::Follower },
            term: Term(3),
            leader: leader.map(NodeId),
            members: vec![member(1), member(2)],
            serving,
            ..Status::unformed(NodeId(1))
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    fn at_2() -> Place {
        Place::At { node: NodeId(2), client: String::from("h:2") }
    }

    #[tokio::test]
    async fn the_leader_is_found_here_or_elsewhere() {
        let (sender, receiver) = watch::channel(status(Some(1), true));
        let leadership = Leadership::follow(receiver, 100);
        assert_eq!(leadership.find(false, (1, Line::Calls), soon()).await, Some(Place::Here));
        sender.send_replace(status(Some(2), false));
        leadership.lost(Term(3)).await;
        assert_eq!(leadership.find(false, (1, Line::Calls), soon()).await, Some(at_2()));
        assert_eq!(leadership.find(true, (1, Line::Calls), soon()).await, None, "one hop only");
    }

    #[tokio::test]
    async fn a_leader_that_has_not_caught_up_does_not_serve_yet() {
        let (_sender, receiver) = watch::channel(status(Some(1), false));
        assert_eq!(Leadership::follow(receiver, 100).find(false, (1, Line::Calls), soon()).await, None);
    }

    #[tokio::test]
    async fn a_request_waits_for_the_election() {
        let (sender, receiver) = watch::channel(status(None, false));
        let leadership = Leadership::follow(receiver, 100);
        let far = Instant::now() + Duration::from_secs(60);
        let (found, ()) = tokio::join!(leadership.find(false, (1, Line::Calls), far), async {
            tokio::task::yield_now().await;
            sender.send_replace(status(Some(2), false));
        });
        assert_eq!(found, Some(at_2()));
        assert_eq!(leadership.waiting.now(), 0);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes() {
        let (_sender, receiver) = watch::channel(status(None, false));
        let leadership = Leadership::follow(receiver, 100);
        let far = Instant::now() + Duration::from_secs(3600);
        assert_eq!(leadership.find(false, (101, Line::Calls), far).await, None, "answered at once");
        assert_eq!(leadership.waiting.now(), 0);
    }

    #[tokio::test]
    async fn a_leader_that_is_none_any_more_is_not_waited_for() {
        let (sender, receiver) = watch::channel(status(Some(2), false));
        let leadership = Leadership::follow(receiver, 100);
        let waited = tokio::time::timeout(Duration::from_millis(300), leadership.moved(&at_2())).await;
        assert!(waited.is_err(), "it leads");
        sender.send_replace(status(None, false));
        tokio::time::timeout(Duration::from_secs(20), leadership.moved(&at_2())).await.expect("nobody leads there");
    }
}
