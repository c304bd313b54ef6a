//! What a node knows of its peers, and the two checks of every handshake (hazards 2, 7).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use openraft::async_runtime::WatchReceiver;
use openraft::metrics::RaftServerMetrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use crate::identity::Identity;
use crate::membership::{MemberNode, NodeAddresses};
use crate::planted::{self, Bug};
use crate::raft::clocks::Clocks;
use crate::raft::network::confirmations::Confirmations;
use crate::raft::network::net::TcpStream;
use crate::raft::network::socket;
use crate::raft::rooms::Rooms;
use crate::raft::type_config::TypeConfig;
use crate::raft::wire::WireError;
use crate::raft::wire::append::Report;
use crate::raft::wire::handshake::{Hello, HelloError, Party, Purpose, Refusal, WELCOME_BYTES, Welcome};
use crate::replica::Health;
use crate::types::{Incarnation, NodeId};

type ServerMetrics = openraft::alias::WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>;

/// Why a peer was not reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{address}: {source}")]
    Io { address: String, source: io::Error },
    #[error("{address} refused: {refusal}; there is {found}, expected was {expected}")]
    Refused { address: String, refusal: Refusal, found: Party, expected: Party },
    #[error("{address}: {source}")]
    Wire { address: String, source: WireError },
}

/// This node, as its connections introduce it, and the members that it knows.
pub(crate) struct Peers {
    pub(crate) identity: Arc<Identity>,
    pub(crate) advertised: NodeAddresses,
    pub(crate) rooms: Rooms,
    pub(crate) confirmations: Confirmations,
    pub(crate) clocks: Clocks,
    #[cfg_attr(not(tercet_sim), expect(dead_code, reason = "only planted bugs look at it"))]
    pub(crate) acknowledged: planted::Acknowledged,
    metrics: OnceLock<ServerMetrics>,
    health: watch::Sender<Health>,
    /// The last refusal logged for a peer: each is logged once until it changes.
    logged: Mutex<BTreeMap<NodeId, Refusal>>,
}

impl Peers {
    pub(crate) fn new(
        identity: Arc<Identity>,
        advertised: NodeAddresses,
        rooms: Rooms,
        clocks: Clocks,
        health: watch::Sender<Health>,
    ) -> Peers {
        let acknowledged = planted::Acknowledged::default();
        Peers {
            identity,
            advertised,
            rooms,
            confirmations: Confirmations::default(),
            clocks,
            acknowledged,
            metrics: OnceLock::new(),
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
    pub(crate) fn follow(&self, metrics: ServerMetrics) {
        assert!(self.metrics.set(metrics).is_ok(), "the members are followed once");
    }

    /// The member in the newest membership of this node's log.
    pub(crate) fn member(&self, id: NodeId) -> Option<MemberNode> {
        let metrics = self.metrics.get()?.borrow_watched();
        metrics.membership_config.membership().get_node(&id).cloned()
    }

    /// Whether a change of voters is under way.
    pub(crate) fn is_joint(&self) -> bool {
        let Some(metrics) = self.metrics.get() else { return false };
        metrics.borrow_watched().membership_config.membership().get_joint_config().len() > 1
    }

    /// The voters in the newest membership of this node's log, those of both sides of a change.
    pub(crate) fn voters(&self) -> BTreeSet<NodeId> {
        let Some(metrics) = self.metrics.get() else { return BTreeSet::new() };
        metrics.borrow_watched().membership_config.membership().voter_ids().collect()
    }

    /// All members in the newest membership of this node's log; none before the core runs.
    pub(crate) fn members(&self) -> Vec<(NodeId, MemberNode)> {
        let Some(metrics) = self.metrics.get() else { return Vec::new() };
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().nodes().map(|(id, node)| (*id, node.clone())).collect()
    }

    /// The newest membership of this node's log.
    #[cfg(tercet_sim)]
    pub(crate) fn membership(&self) -> Option<crate::membership::Membership> {
        let metrics = self.metrics.get()?.borrow_watched();
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
                self.note_refusal(target, &error);
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

    async fn handshake(
        &self,
        address: &str,
        to: Party,
        purpose: Purpose,
    ) -> Result<(TcpStream, Welcome), ConnectError> {
        let io = |source| ConnectError::Io { address: address.to_owned(), source };
        let hello =
            Hello { purpose, cluster: self.identity.cluster(), group: self.identity.group, from: self.party(), to };
        let mut stream = socket::connect(address).await.map_err(io)?;
        let exchange = async {
            stream.write_all(&hello.encode()).await?;
            let mut bytes = [0; WELCOME_BYTES];
            stream.read_exact(&mut bytes).await?;
            Ok(bytes)
        };
        let bytes = tokio::time::timeout(socket::CONNECT_TIMEOUT, exchange)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no handshake in time")))
            .map_err(io)?;
        let welcome =
            Welcome::decode(&bytes).map_err(|source| ConnectError::Wire { address: address.to_owned(), source })?;
        // The callee has checked; the caller checks as well, so that neither relies on the other's build.
        let doubt = welcome.refusal.or_else(|| self.doubt_of(&welcome, to, purpose));
        match doubt {
            None => Ok((stream, welcome)),
            Some(refusal) => {
                Err(ConnectError::Refused { address: address.to_owned(), refusal, found: welcome.party, expected: to })
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

    /// What this node answers to a hello.
    pub(crate) fn answer(&self, hello: &Result<Hello, HelloError>) -> Welcome {
        let refusal = match hello {
            Ok(hello) => self.refusal_of(hello),
            Err(HelloError::Version(_) | HelloError::Wire(_)) => Some(Refusal::Version),
        };
        self.welcome(refusal)
    }

    /// An answer with this refusal.
    pub(crate) fn welcome(&self, refusal: Option<Refusal>) -> Welcome {
        Welcome { refusal, cluster: self.identity.cluster(), group: self.identity.group, party: self.party() }
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
            self.note_wiped(hello.to.incarnation, hello.from.node);
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
    fn note_wiped(&self, expected: Incarnation, by: NodeId) {
        let own = self.party();
        let reason = format!(
            "node {by} expects {expected} as the incarnation of node {}, but this folder's is {}: it was wiped or swapped. \
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

    fn note_refusal(&self, target: NodeId, error: &ConnectError) {
        let ConnectError::Refused { refusal, .. } = error else { return };
        if *refusal == Refusal::CallerIncarnation {
            self.note_wiped(self.member(self.identity.node_id).map_or(Incarnation(0), |own| own.incarnation), target);
        }
        if self.logged().insert(target, *refusal) != Some(*refusal) {
            tracing::warn!(peer = %target, %error, "a peer refused the connection");
        }
    }

    fn logged(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, Refusal>> {
        self.logged.lock().expect("no holder of this lock panics")
    }
}
