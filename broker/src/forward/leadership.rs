//! Where the leader is, and waiting for one while an election runs.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use raft_log::{
    Status,
    types::{NodeId, Term},
};
use tokio::{sync::watch, time::Instant};

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

/// The leadership as this node knows it.
pub struct Leadership {
    status: watch::Receiver<Status>,
    waiting_bytes: AtomicUsize,
    waiting_bytes_max: usize,
}

struct Waiting<'a> {
    leadership: &'a Leadership,
    bytes: usize,
}

impl Leadership {
    /// Follows this status. Requests that wait for a leader hold at most `waiting_bytes_max` together.
    pub fn new(status: watch::Receiver<Status>, waiting_bytes_max: usize) -> Leadership {
        Leadership { status, waiting_bytes: AtomicUsize::new(0), waiting_bytes_max }
    }

    /// The status and its changes.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Whether this node leads and its state is current.
    pub fn serves(&self) -> bool {
        self.status.borrow().serving
    }

    /// The term in which this node leads, if it does.
    pub fn serving_term(&self) -> Option<Term> {
        let status = self.status.borrow();
        status.serving.then_some(status.term)
    }

    /// Where the leader is now; nothing while there is none.
    pub fn place(&self) -> Option<Place> {
        place_of(&self.status.borrow())
    }

    /// Where the leader is, waiting for one until `until`. A request that was forwarded already is done here or not
    /// at all. `bytes` is what the request holds while it waits; beyond the bound it does not wait.
    pub async fn find(&self, forwarded: bool, bytes: usize, until: Instant) -> Option<Place> {
        let acceptable = |status: &Status| match place_of(status) {
            Some(Place::At { .. }) if forwarded => None,
            place => place,
        };
        if let Some(place) = acceptable(&self.status.borrow()) {
            return Some(place);
        }
        let _waiting = self.reserve(bytes)?;
        let mut status = self.status.clone();
        let found = tokio::time::timeout_at(until, status.wait_for(|status| acceptable(status).is_some())).await;
        acceptable(&*found.ok()?.ok()?)
    }

    /// Returns when the leadership may have changed, at `until` at the latest, or after a short while: for a leader
    /// that this node still believes in and cannot reach.
    pub async fn settle(&self, gone: &Place, until: Instant) {
        const LOOK_AGAIN: Duration = Duration::from_millis(100);
        let mut status = self.status.clone();
        let wake = until.min(Instant::now() + LOOK_AGAIN);
        let changed = status.wait_for(|status| place_of(status).as_ref() != Some(gone));
        let _ = tokio::time::timeout_at(wake, changed).await;
    }

    fn reserve(&self, bytes: usize) -> Option<Waiting<'_>> {
        let held = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let waiting = Waiting { leadership: self, bytes };
        (held + bytes <= self.waiting_bytes_max).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.leadership.waiting_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
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
mod tests {
    use raft_log::{Health, Member, NodeAddresses, Role};

    use super::*;

    fn status(leader: Option<u64>, serving: bool) -> Status {
        let member = |id| Member {
            id: NodeId(id),
            addresses: NodeAddresses { peer: String::new(), client: format!("h:{id}"), http: String::new() },
            voter: true,
            matched: None,
            last_heard: None,
        };
        Status {
            node_id: NodeId(1),
            cluster: None,
            role: if serving { Role::Leader } else { Role::Follower },
            term: Term(3),
            leader: leader.map(NodeId),
            last: None,
            committed: None,
            applied: None,
            durable: None,
            members: vec![member(1), member(2)],
            serving,
            health: Health::Healthy,
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
        let leadership = Leadership::new(receiver, 100);
        assert_eq!(leadership.find(false, 1, soon()).await, Some(Place::Here));
        sender.send_replace(status(Some(2), false));
        assert_eq!(leadership.find(false, 1, soon()).await, Some(at_2()));
        assert_eq!(leadership.find(true, 1, soon()).await, None, "one hop only");
    }

    #[tokio::test]
    async fn a_leader_that_has_not_caught_up_does_not_serve_yet() {
        let (_sender, receiver) = watch::channel(status(Some(1), false));
        assert_eq!(Leadership::new(receiver, 100).find(false, 1, soon()).await, None);
    }

    #[tokio::test]
    async fn a_request_waits_for_the_election() {
        let (sender, receiver) = watch::channel(status(None, false));
        let leadership = Leadership::new(receiver, 100);
        let far = Instant::now() + Duration::from_secs(60);
        let (found, ()) = tokio::join!(leadership.find(false, 1, far), async {
            tokio::task::yield_now().await;
            sender.send_replace(status(Some(2), false));
        });
        assert_eq!(found, Some(at_2()));
        assert_eq!(leadership.waiting_bytes.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes() {
        let (_sender, receiver) = watch::channel(status(None, false));
        let leadership = Leadership::new(receiver, 100);
        let far = Instant::now() + Duration::from_secs(3600);
        assert_eq!(leadership.find(false, 101, far).await, None, "answered at once");
        assert_eq!(leadership.waiting_bytes.load(Ordering::Relaxed), 0);
    }
}
