//! What a node knows of its peers, and the two checks of every handshake (hazards 2, 7, 34).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use openraft::async_runtime::WatchReceiver;
use openraft::metrics::RaftServerMetrics;
use tokio::sync::watch;

use crate::identity::Identity;
use crate::membership::{MemberNode, NodeAddresses};
use crate::planted::{self, Bug};
use crate::raft::clocks::Clocks;
use crate::raft::core::RaftCore;
use crate::raft::network::confirmations::Confirmations;
use crate::raft::network::confirmed::Confirmed;
use crate::raft::network::greeting::{GreetError, greet};
use crate::raft::network::net::TcpStream;
use crate::raft::network::pasts::Pasts;
use crate::raft::network::warm::Warm;
use crate::raft::network::{plausible, socket};
use crate::raft::rooms::Rooms;
use crate::raft::sightings::{Judgement, Moment, Past};
use crate::raft::type_config::{RaftVote, TypeConfig};
use crate::raft::wire::append::Report;
use crate::raft::wire::handshake::{Hello, Party, Purpose, Refusal, Welcome};
use crate::replica::Health;
use crate::secret::{Key, PeerSecret, SECRET_BYTES, random_bytes};
use crate::types::{GroupId, Incarnation, NodeId};

type ServerMetrics = openraft::alias::WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>;

/// Why a peer was not reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{address}: {source}")]
    Io { address: String, source: io::Error },
    #[error("{address} refused: {refusal}; expected was {expected}")]
    Refused { address: String, refusal: Refusal, expected: Party },
    /// What was said at its beginning does not let the two talk. A connection that broke off there is `Io`.
    #[error("{address}: {source}")]
    Greet { address: String, source: GreetError },
}

impl ConnectError {
    pub(super) fn of_greeting(address: &str, error: GreetError) -> ConnectError {
        let address = address.to_owned();
        match error {
            GreetError::Io(source) => ConnectError::Io { address, source },
            source => ConnectError::Greet { address, source },
        }
    }
}

/// What asking another who it is begins with.
pub(crate) struct Question {
    /// A number that was never said before.
    pub(crate) nonce: [u8; SECRET_BYTES],
    /// Before it is said.
    pub(crate) asked: Moment,
}

/// This node, as its connections introduce it, and the members that it knows.
pub(crate) struct Peers {
    pub(crate) identity: Arc<Identity>,
    /// The secret that this node was given; else it has the one of its claim.
    secret: Option<PeerSecret>,
    pub(crate) advertised: NodeAddresses,
    pub(crate) rooms: Rooms,
    pub(crate) confirmations: Confirmations,
    pub(crate) clocks: Clocks,
    #[cfg_attr(not(tercet_sim), expect(dead_code, reason = "only planted bugs look at it"))]
    pub(crate) acknowledged: planted::Acknowledged,
    /// What the followers of this node have confirmed.
    pub(crate) confirmed: Confirmed,
    /// Whether a folder is an older copy of itself: the others', and this one.
    pub(crate) pasts: Pasts,
    /// Connections that this node needs if it is elected.
    pub(crate) warm: Warm,
    core: OnceLock<(RaftCore, ServerMetrics)>,
    health: watch::Sender<Health>,
    /// The last refusal logged for a peer: each is logged once until it changes.
    logged: Mutex<BTreeMap<NodeId, String>>,
}

impl Peers {
    pub(crate) fn new(
        identity: Arc<Identity>,
        advertised: NodeAddresses,
        rooms: Rooms,
        clocks: Clocks,
        pasts: Pasts,
        secret: Option<PeerSecret>,
        health: watch::Sender<Health>,
    ) -> Peers {
        Peers {
            identity,
            secret,
            advertised,
            rooms,
            confirmations: Confirmations::default(),
            clocks,
            acknowledged: planted::Acknowledged::default(),
            confirmed: Confirmed::default(),
            pasts,
            warm: Warm::default(),
            core: OnceLock::new(),
            health,
            logged: Mutex::default(),
        }
    }

    /// What this node tells its leader of itself.
    pub(crate) fn report(&self) -> Report {
        Report { room: self.rooms.own(), wall: self.clocks.own() }
    }

    /// A follower has told of itself.
    pub(crate) fn heard(&self, from: NodeId, report: Report) {
        self.rooms.heard(from, report.room);
        self.clocks.heard(from, report.wall);
    }

    /// Follows the membership of this core from now on.
    pub(crate) fn follow(&self, core: RaftCore) {
        let metrics = core.server_metrics();
        assert!(self.core.set((core, metrics)).is_ok(), "the members are followed once");
    }

    /// The core, once it runs.
    pub(crate) fn raft(&self) -> Option<&RaftCore> {
        self.core.get().map(|(core, _)| core)
    }

    /// Refuses a vote of a term that no honest peer states.
    pub(crate) fn check_term(&self, stated: &RaftVote) -> io::Result<()> {
        let Some(metrics) = self.metrics() else { return Ok(()) };
        let own = metrics.borrow_watched().vote;
        plausible::check_term(own, stated)
    }

    fn metrics(&self) -> Option<&ServerMetrics> {
        self.core.get().map(|(_, metrics)| metrics)
    }

    /// The member in the newest membership of this node's log.
    pub(crate) fn member(&self, id: NodeId) -> Option<MemberNode> {
        let metrics = self.metrics()?.borrow_watched();
        metrics.membership_config.membership().get_node(&id).cloned()
    }

    /// Whether this member votes, by the newest membership of this node's log.
    pub(crate) fn is_voter(&self, id: NodeId) -> bool {
        let Some(metrics) = self.metrics() else { return true };
        metrics.borrow_watched().membership_config.membership().voter_ids().any(|voter| voter == id)
    }

    /// Whether a change of voters is under way.
    pub(crate) fn is_joint(&self) -> bool {
        let Some(metrics) = self.metrics() else { return false };
        metrics.borrow_watched().membership_config.membership().get_joint_config().len() > 1
    }

    /// The voters in the newest membership of this node's log, those of both sides of a change.
    pub(crate) fn voters(&self) -> BTreeSet<NodeId> {
        let Some(metrics) = self.metrics() else { return BTreeSet::new() };
        metrics.borrow_watched().membership_config.membership().voter_ids().collect()
    }

    /// All members in the newest membership of this node's log; none before the core runs.
    pub(crate) fn members(&self) -> Vec<(NodeId, MemberNode)> {
        let Some(metrics) = self.metrics() else { return Vec::new() };
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().nodes().map(|(id, node)| (*id, node.clone())).collect()
    }

    /// The newest membership of this node's log.
    #[cfg(tercet_sim)]
    pub(crate) fn membership(&self) -> Option<crate::membership::Membership> {
        let metrics = self.metrics()?.borrow_watched();
        Some(crate::raft::type_config::membership(metrics.membership_config.membership()))
    }

    fn party(&self) -> Party {
        Party { node: self.identity.node_id, incarnation: self.identity.incarnation }
    }

    /// Connects to a member for Raft traffic, at its newest known address.
    pub(crate) async fn connect(
        &self,
        target: NodeId,
        known: &MemberNode,
        purpose: Purpose,
    ) -> Result<TcpStream, ConnectError> {
        let newest = self.member(target);
        let node = newest.as_ref().unwrap_or(known);
        let expected = Party { node: target, incarnation: node.incarnation };
        match self.handshake(&node.addresses.peer, expected, purpose).await {
            Ok((stream, _)) => {
                self.logged().remove(&target);
                Ok(stream)
            }
            Err(error) => {
                self.note_refusal(target, &error).await;
                Err(error)
            }
        }
    }

    /// Connects to an address for bootstrap: the node id is checked, cluster and incarnation are what we ask for.
    pub(crate) async fn connect_for_bootstrap(
        &self,
        target: NodeId,
        address: &str,
    ) -> Result<(TcpStream, Incarnation), ConnectError> {
        let expected = Party { node: target, incarnation: Incarnation(0) };
        let (stream, welcome) = self.handshake(address, expected, Purpose::Bootstrap).await?;
        Ok((stream, welcome.party.incarnation))
    }

    /// What this node proves itself with to who calls it.
    pub(crate) fn key(&self) -> Key {
        let secret = self.secret.clone().or_else(|| self.identity.claim()?.secret);
        secret.map_or(Key::Open, Key::Shared)
    }

    /// Whether this node was given its secret: it talks to nobody without.
    pub(crate) fn is_strict(&self) -> bool {
        self.secret.is_some()
    }

    /// What asking another who it is begins with.
    pub(crate) fn question(&self) -> Question {
        Question { nonce: random_bytes(&*self.identity.env().rng), asked: self.pasts.sightings.now() }
    }

    async fn handshake(
        &self,
        address: &str,
        to: Party,
        purpose: Purpose,
    ) -> Result<(TcpStream, Welcome), ConnectError> {
        let io = |source| ConnectError::Io { address: address.to_owned(), source };
        let mut stream = socket::connect(address).await.map_err(io)?;
        let Question { nonce, asked } = self.question();
        let greeting = greet(&mut stream, &nonce, |has_key| self.introduction(has_key, to, purpose));
        let welcome = tokio::time::timeout(socket::CONNECT_TIMEOUT, greeting)
            .await
            .map_err(|_| io(io::Error::new(io::ErrorKind::TimedOut, "no handshake in time")))?
            .map_err(|error| ConnectError::of_greeting(address, error))?;
        // The callee has checked; the caller checks as well, so that neither relies on the other's build.
        let mut doubt = welcome.refusal.or_else(|| self.doubt_of(&welcome, to, purpose));
        if doubt.is_none() {
            match self.judge(welcome.party, &welcome.past, asked, purpose).await {
                Judgement::GoesOn => {}
                Judgement::OlderCopy => doubt = Some(Refusal::OlderCopy),
                Judgement::Late => {
                    let ended = "it was said by an earlier run of the node, which has ended";
                    return Err(io(io::Error::new(io::ErrorKind::ConnectionReset, ended)));
                }
            }
        }
        match doubt {
            None => Ok((stream, welcome)),
            Some(refusal) => Err(ConnectError::Refused { address: address.to_owned(), refusal, expected: to }),
        }
    }

    /// The key and the words for one who has a secret, or has none.
    fn introduction(&self, has_key: bool, to: Party, purpose: Purpose) -> Result<(Key, Hello), GreetError> {
        let own = match self.key() {
            // While the group is formed, this node may hold the secret that the others already have.
            Key::Open => self.identity.offered().map_or(Key::Open, Key::Shared),
            shared @ Key::Shared(_) => shared,
        };
        let (cluster, group, past) = (self.identity.cluster(), self.identity.group, self.pasts.stated_to(to.node));
        let hello = Hello { purpose, cluster, group, from: self.party(), to, past };
        match (own, has_key) {
            (Key::Open, true) => Err(GreetError::NoSecretHere),
            (Key::Shared(_), false) if self.is_strict() => Err(GreetError::NoSecretThere),
            (own @ Key::Shared(_), true) => Ok((own, hello)),
            (_, false) if purpose == Purpose::Bootstrap || planted::is(Bug::WipedVoterReturns) => {
                Ok((Key::Open, hello))
            }
            // A new folder, or one that was wiped: it hears whom it was expected to be, and nothing else.
            (_, false) => {
                let from = Party { node: NodeId(0), incarnation: Incarnation(0) };
                Ok((Key::Open, Hello { cluster: None, from, past: Past::default(), ..hello }))
            }
        }
    }

    fn doubt_of(&self, welcome: &Welcome, expected: Party, purpose: Purpose) -> Option<Refusal> {
        if planted::is(Bug::WipedVoterReturns) {
            return None;
        }
        if welcome.group != self.identity.group {
            Some(Refusal::Group)
        } else if welcome.party.node != expected.node {
            Some(Refusal::Node)
        } else if purpose == Purpose::Bootstrap {
            None
        } else if welcome.cluster != self.identity.cluster() {
            Some(Refusal::Cluster)
        } else {
            (welcome.party.incarnation != expected.incarnation).then_some(Refusal::Incarnation)
        }
    }

    /// Judges the folder of a proven member. One that is an older copy of itself neither votes nor is asked to, and what it
    /// holds does not count: it gets entries as a learner only. It may be asked for ranges, which prove themselves.
    async fn judge(&self, other: Party, past: &Past, asked: Moment, purpose: Purpose) -> Judgement {
        if purpose == Purpose::Bootstrap {
            return Judgement::GoesOn;
        }
        let judgement = self.pasts.judge(other, past, asked, self.identity.node_id).await;
        let may = match purpose {
            Purpose::Repair | Purpose::Bootstrap => true,
            Purpose::Call => false,
            Purpose::Append | Purpose::Heartbeat | Purpose::Checkpoint => !self.is_voter(other.node),
        };
        if judgement == Judgement::OlderCopy && may { Judgement::GoesOn } else { judgement }
    }

    /// What this node answers to the introduction of a proven caller, who was asked for it at some moment.
    pub(crate) async fn answer(&self, hello: &Hello, asked: Moment) -> Welcome {
        let mut refusal = self.refusal_of(hello);
        if refusal.is_none() {
            refusal = match self.judge(hello.from, &hello.past, asked, hello.purpose).await {
                Judgement::GoesOn => None,
                Judgement::OlderCopy => Some(Refusal::CallerOlderCopy),
                Judgement::Late => Some(Refusal::CallerEnded),
            };
        }
        self.welcome(refusal, hello.from.node)
    }

    /// An answer with this refusal. It says nothing else, but to those who hold the secret which node answers.
    pub(crate) fn welcome(&self, refusal: Option<Refusal>, to: NodeId) -> Welcome {
        let group = self.identity.group;
        if refusal.is_none() {
            let (cluster, past) = (self.identity.cluster(), self.pasts.stated_to(to));
            return Welcome { refusal, cluster, group, party: self.party(), past };
        }
        let node = if self.key().is_shared() { self.identity.node_id } else { NodeId(0) };
        let party = Party { node, incarnation: Incarnation(0) };
        Welcome { refusal, cluster: None, group: GroupId(0), party, past: Past::default() }
    }

    fn refusal_of(&self, hello: &Hello) -> Option<Refusal> {
        let own = self.party();
        if planted::is(Bug::WipedVoterReturns) {
            return None;
        }
        if hello.group != self.identity.group {
            return Some(Refusal::Group);
        }
        if hello.to.node != own.node {
            return Some(Refusal::Node);
        }
        if hello.purpose == Purpose::Bootstrap {
            return None;
        }
        let refusal = match self.identity.cluster() {
            None => Some(Refusal::NoCluster),
            Some(cluster) if hello.cluster != Some(cluster) => Some(Refusal::Cluster),
            Some(_) => None,
        };
        if hello.to.incarnation != own.incarnation && refusal != Some(Refusal::Cluster) {
            self.note_wiped(hello.to.incarnation);
        }
        if refusal.is_some() {
            return refusal;
        }
        if hello.to.incarnation != own.incarnation {
            return Some(Refusal::Incarnation);
        }
        let known = self.member(hello.from.node);
        known.is_some_and(|known| known.incarnation != hello.from.incarnation).then_some(Refusal::CallerIncarnation)
    }

    /// This folder is not the one that the cluster counts on: say so until the operator acts (hazards 2).
    fn note_wiped(&self, expected: Incarnation) {
        let own = self.party();
        let reason = format!(
            "a peer expects {expected} as the incarnation of node {}, but this folder's is {}: it was wiped or swapped. \
             It never votes under this id; remove the node from the group and add it under a fresh one",
            own.node, own.incarnation
        );
        self.health.send_if_modified(|health| {
            let news = matches!(health, Health::Healthy);
            if news {
                tracing::error!(%reason, "this data folder is not the member's");
                *health = Health::WipedVoter { reason };
            }
            news
        });
    }

    /// An empty folder belongs to a cluster now. What was said of it before nobody had to prove.
    pub(crate) fn note_claimed(&self) {
        let is_new = !self.identity.is_used();
        self.health.send_if_modified(|health| {
            let news = is_new && matches!(health, Health::WipedVoter { .. });
            if news {
                *health = Health::Healthy;
            }
            news
        });
    }

    async fn note_refusal(&self, target: NodeId, error: &ConnectError) {
        let reason = match error {
            ConnectError::Refused { refusal, .. } => {
                self.heed(*refusal, target).await;
                refusal.to_string()
            }
            ConnectError::Io { .. } => return,
            ConnectError::Greet { source, .. } => source.to_string(),
        };
        if self.logged().insert(target, reason.clone()) != Some(reason) {
            tracing::warn!(peer = %target, %error, "a peer is not talked to");
        }
    }

    /// A proven peer has said why it does not talk to this folder.
    async fn heed(&self, refusal: Refusal, by: NodeId) {
        match refusal {
            Refusal::CallerOlderCopy => self.pasts.take_accusation(self.identity.node_id, by).await,
            Refusal::CallerIncarnation => {
                let expected = self.member(self.identity.node_id).map_or(Incarnation(0), |own| own.incarnation);
                self.note_wiped(expected);
            }
            _ => {}
        }
    }

    fn logged(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, String>> {
        self.logged.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
#[path = "peers_tests.rs"]
pub(crate) mod tests;
