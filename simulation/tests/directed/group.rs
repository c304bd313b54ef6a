//! A formed group in a simulation, for tests that make their own faults.

use std::time::Duration;

use bytes::Bytes;
use raft_log::env::sim::{Crash, SeededRng};
use raft_log::sim::block_on;
use raft_log::sim::net::Network;
use raft_log::types::LogId;
use raft_log::{BootstrapError, ElectionOptions, Replica, RetentionOptions, Sizes};
use simulation::cluster::Cluster;
use simulation::hosts::{PEER_PORT, host};
use simulation::settings::Settings;
use tokio::time::Instant;

/// Between two looks at the nodes.
const STEP: Duration = Duration::from_millis(5);
/// A group forms by then.
const FORMED_WITHIN: Duration = Duration::from_secs(20);

/// A group without faults; all nodes are open.
pub(crate) struct Group {
    pub(crate) cluster: Cluster,
    rng: SeededRng,
}

/// Runs `test` with a formed group of so many voters.
pub(crate) fn with_group<T>(seed: u64, nodes: u8, election: ElectionOptions, test: impl AsyncFnOnce(Group) -> T) -> T {
    with_nodes_at(seed, nodes, election, by_address, formed(test))
}

/// The same, whose members know each other by names; see [`Network::set_name`].
pub(crate) fn with_named_group<T>(seed: u64, nodes: u8, test: impl AsyncFnOnce(Group) -> T) -> T {
    let named = |network: &Network, place| {
        network.set_name(&name(place), host(place));
        name(place)
    };
    with_nodes_at(seed, nodes, ElectionOptions::default(), named, formed(test))
}

/// Runs `test` with so many open nodes that are no group yet.
pub(crate) fn with_unformed_group<T>(seed: u64, nodes: u8, test: impl AsyncFnOnce(Group) -> T) -> T {
    with_nodes_at(seed, nodes, ElectionOptions::default(), by_address, test)
}

/// The name of a member of a named group.
pub(crate) fn name(place: usize) -> String {
    format!("node-{}.example", place + 1)
}

fn by_address(_: &Network, place: usize) -> String {
    host(place).to_string()
}

fn formed<T>(test: impl AsyncFnOnce(Group) -> T) -> impl AsyncFnOnce(Group) -> T {
    async |mut group: Group| {
        group.form().await;
        test(group).await
    }
}

fn with_nodes_at<T>(
    seed: u64,
    nodes: u8,
    election: ElectionOptions,
    host_of: impl Fn(&Network, usize) -> String,
    test: impl AsyncFnOnce(Group) -> T,
) -> T {
    block_on(seed, async |network| {
        let settings = Settings {
            nodes,
            election,
            durability: raft_log::Durability::Sync,
            payload_bytes_max: 100,
            sizes: Sizes::default(),
            retention: RetentionOptions::default(),
            ..Settings::of(seed)
        };
        let mut group = Group { cluster: Cluster::new(settings, network.clone()), rng: SeededRng::new(seed) };
        for node in &mut group.cluster.nodes {
            node.advertised = format!("{}:{PEER_PORT}", host_of(&network, node.place));
        }
        let all_open =
            |group: &Group| group.cluster.nodes.iter().all(|node| group.cluster.replica(node.place).is_some());
        assert!(group.until(FORMED_WITHIN, all_open).await, "all nodes open");
        let outcome = test(group).await;
        // Tasks of killed processes are dropped when their turn comes.
        tokio::time::sleep(STEP).await;
        outcome
    })
}

impl Group {
    /// Has the first node form a group of all.
    pub(crate) fn bootstrap(&self) -> tokio::task::JoinHandle<Result<(), BootstrapError>> {
        let voters = self.cluster.nodes.iter().map(|node| (node.id, node.advertised.clone())).collect();
        let (replica, process) = (self.replica(0), self.cluster.nodes[0].process.clone().expect("it is open"));
        process.spawn(async move { replica.bootstrap(voters).await.map(drop) })
    }

    async fn form(&mut self) {
        drop(self.bootstrap());
        let leads = |group: &Group| group.cluster.leader().is_some();
        assert!(self.until(FORMED_WITHIN, leads).await, "a leader is elected");
        assert!(self.stores(FORMED_WITHIN).await, "it stores");
    }

    /// Lets time pass.
    pub(crate) async fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        self.until(time, |_| Instant::now() >= end).await;
    }

    /// Lets time pass until `done`, at most `limit`; says whether it came to that.
    pub(crate) async fn until(&mut self, limit: Duration, done: impl Fn(&Group) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            self.cluster.tend(&self.rng).expect("no node fails without a cause");
            if done(self) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(STEP).await;
        }
    }

    pub(crate) fn replica(&self, place: usize) -> Replica {
        self.cluster.replica(place).expect("the node is open")
    }

    /// The place of the leader of the highest term.
    pub(crate) fn leader(&self) -> usize {
        self.cluster.leader().expect("somebody leads")
    }

    /// Whether this node leads, as far as it knows.
    pub(crate) fn leads(&self, place: usize) -> bool {
        self.replica(place).standing_now().leads
    }

    /// Proposes at this node; the result is there once it is decided.
    pub(crate) fn propose(&self, place: usize, number: u64) -> tokio::task::JoinHandle<Option<LogId>> {
        let replica = self.replica(place);
        tokio::spawn(async move {
            let payload = Bytes::from([&number.to_le_bytes()[..], &[0; 8]].concat());
            replica.propose(payload, 1).await.ok().map(|proposed| proposed.id)
        })
    }

    /// Cuts or mends both ways between two nodes.
    pub(crate) fn cut(&self, one: usize, other: usize, cut: bool) {
        self.cut_one_way(one, other, cut);
        self.cut_one_way(other, one, cut);
    }

    pub(crate) fn cut_one_way(&self, from: usize, to: usize, cut: bool) {
        self.cluster.network.set_cut(host(from), host(to), cut);
    }

    /// Every piece on every link travels so long.
    pub(crate) fn slow_links(&self, millis: u64) {
        for (one, other) in self.pairs() {
            self.cluster.network.set_latency_millis(host(one), host(other), Some((millis, millis)));
        }
    }

    /// Breaks every stream between any two nodes; both ends are told.
    pub(crate) fn reset_all(&self) -> usize {
        self.pairs().map(|(one, other)| self.cluster.network.reset_streams(host(one), host(other))).sum()
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let nodes = self.cluster.nodes.len();
        (0..nodes).flat_map(move |one| (0..nodes).map(move |other| (one, other))).filter(|(one, other)| one != other)
    }

    /// Ends a node's process for good, as SIGKILL would.
    pub(crate) fn kill(&mut self, place: usize) {
        self.cluster.crash(place, Crash::KeepAll, Instant::now() + Duration::from_secs(3_600));
    }

    /// The term of the leader.
    pub(crate) fn term(&self) -> u64 {
        self.replica(self.leader()).standing_now().term.0
    }

    /// How long it takes until another than this node leads.
    pub(crate) async fn until_replaced(&mut self, old: usize, limit: Duration) -> Option<Duration> {
        let begin = Instant::now();
        let replaced = |group: &Group| group.cluster.leader().is_some_and(|leader| leader != old);
        self.until(limit, replaced).await.then(|| begin.elapsed())
    }

    /// Whether a proposal is stored within this time; what is refused is proposed again. A leader takes nothing before a
    /// majority has answered it.
    pub(crate) async fn stores(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(leader) = self.cluster.leader() {
                let stored = self.propose(leader, 7);
                self.until(deadline.duration_since(Instant::now()), |_| stored.is_finished()).await;
                if stored.is_finished() && matches!(stored.await, Ok(Some(_))) {
                    return true;
                }
            }
            self.pass(STEP * 4).await;
        }
        false
    }
}
