//! A group of real replicas in one process: real sockets on loopback, real files in a folder that vanishes.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "test support: each test file uses its share"
)]

pub mod clock;
pub mod gate;
pub mod machine;
pub mod stalling_disk;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use raft_log::env::Env;
use raft_log::env::sim::SimDisk;
use raft_log::types::{GroupId, LogIndex, NodeId};
use raft_log::{NodeAddresses, OpenError, PeerListen, ProposeError, Proposed, Record, Replica, ReplicaOptions, Status};

use self::machine::Machine;

/// Longest wait for anything that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Node {
    pub id: NodeId,
    pub dir: PathBuf,
    pub listen: SocketAddr,
    /// What the node advertises; the listening address unless a test puts something between.
    pub advertised: String,
    /// Stands for what the host of the log serves beside it.
    pub clients: TcpListener,
    /// What the node advertises to clients; the address of [`Self::clients`] unless a test says otherwise.
    pub advertised_client: String,
    pub machine: Machine,
    /// Its disk, clock and randomness; the real ones unless a test gives others before opening.
    pub env: Env,
    pub replica: Option<Replica>,
}

type Tweak = Box<dyn Fn(&mut ReplicaOptions)>;

pub struct Group {
    pub nodes: Vec<Node>,
    tweak: Tweak,
    pub folder: tempfile::TempDir,
}

/// A free port on loopback, bound. Below the range that the system hands out by itself, so that nobody takes it while
/// its node is down, and never the same twice in this process.
pub fn listener() -> TcpListener {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id() % 16_000).unwrap();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 4_000;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener;
        }
    }
}

/// The disk of a node, of those in the order of the ids.
pub fn disk_of(disks: &[Arc<SimDisk>], id: NodeId) -> &SimDisk {
    &disks[usize::try_from(id.0).unwrap() - 1]
}

impl Group {
    /// Nodes 1 to `count`, not open yet.
    pub fn closed(count: u64, tweak: impl Fn(&mut ReplicaOptions) + 'static) -> Group {
        let folder = tempfile::tempdir().unwrap();
        let mut group = Group { nodes: Vec::new(), tweak: Box::new(tweak), folder };
        for _ in 0..count {
            group.add_closed();
        }
        group
    }

    /// One more node, not open yet.
    pub fn add_closed(&mut self) -> NodeId {
        let id = NodeId(self.nodes.len() as u64 + 1);
        let listen = listener().local_addr().unwrap();
        let dir = self.folder.path().join(format!("node-{id}"));
        let (advertised, clients) = (listen.to_string(), listener());
        let advertised_client = clients.local_addr().unwrap().to_string();
        let (machine, env, replica) = (Machine::default(), Env::real(), None);
        self.nodes.push(Node { id, dir, listen, advertised, clients, advertised_client, machine, env, replica });
        id
    }

    /// Three open nodes, bootstrapped.
    pub async fn three() -> Group {
        Group::three_with(|_| {}).await
    }

    pub async fn three_with(tweak: impl Fn(&mut ReplicaOptions) + 'static) -> Group {
        Group::three_in([(); 3].map(|()| Env::real()), tweak).await
    }

    /// Three open nodes, bootstrapped, each in an environment of its own.
    pub async fn three_in(envs: [Env; 3], tweak: impl Fn(&mut ReplicaOptions) + 'static) -> Group {
        let mut group = Group::closed(3, tweak);
        for (node, env) in group.nodes.iter_mut().zip(envs) {
            node.env = env;
        }
        group.open_all().await;
        group.bootstrap().await;
        group
    }

    /// Three open nodes, bootstrapped, each on a simulated disk; see [`disk_of`].
    pub async fn three_on_simulated_disks(tweak: impl Fn(&mut ReplicaOptions) + 'static) -> (Group, [Arc<SimDisk>; 3]) {
        let disks = [(); 3].map(|()| Arc::new(SimDisk::new()));
        let envs = disks.clone().map(|disk| Env { disk, ..Env::real() });
        (Group::three_in(envs, tweak).await, disks)
    }

    pub async fn open_all(&mut self) {
        for id in self.ids() {
            self.open(id).await.unwrap();
        }
    }

    /// Opens all at once: each may need the others before it is open.
    pub async fn open_together(&mut self) {
        let openings = self.ids().into_iter().map(|id| {
            let (options, env) = (self.options(id), self.node(id).env.clone());
            let machine = self.node(id).machine.reopened();
            async move { (id, machine.clone(), Replica::open(options, env, machine).await.unwrap()) }
        });
        let opened = tokio::time::timeout(PATIENCE, futures::future::join_all(openings)).await.unwrap();
        for (id, machine, replica) in opened {
            let node = self.node_mut(id);
            node.machine = machine;
            node.replica = Some(replica);
        }
    }

    pub async fn bootstrap(&self) {
        self.replica(NodeId(1)).bootstrap(self.voters()).await.unwrap();
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    pub fn voters(&self) -> Vec<(NodeId, String)> {
        self.nodes.iter().map(|node| (node.id, node.advertised.clone())).collect()
    }

    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes.iter().find(|node| node.id == id).unwrap()
    }

    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id == id).unwrap()
    }

    pub fn replica(&self, id: NodeId) -> &Replica {
        self.node(id).replica.as_ref().unwrap()
    }

    pub fn options(&self, id: NodeId) -> ReplicaOptions {
        let node = self.node(id);
        let advertised = NodeAddresses {
            peer: node.advertised.clone(),
            client: node.advertised_client.clone(),
            http: node.clients.local_addr().unwrap().to_string(),
        };
        let listen = PeerListen::Address(node.listen);
        let mut options = ReplicaOptions::new(id, GroupId(7), node.dir.clone(), listen, advertised);
        options.segment_bytes_max = 4 << 20;
        options.entry_bytes_max = 1 << 20;
        (self.tweak)(&mut options);
        options
    }

    /// Opens a node on what its disk and its flushed state hold.
    pub async fn open(&mut self, id: NodeId) -> Result<(), OpenError> {
        let options = self.options(id);
        let machine = self.node(id).machine.reopened();
        let replica = Replica::open(options, self.node(id).env.clone(), machine.clone()).await?;
        let node = self.node_mut(id);
        node.machine = machine;
        node.replica = Some(replica);
        Ok(())
    }

    /// Ends a node at once, as a crash does.
    pub async fn kill(&mut self, id: NodeId) {
        let replica = self.node_mut(id).replica.take().unwrap();
        tokio::task::spawn_blocking(move || drop(replica)).await.unwrap();
    }

    pub async fn shut_down(&mut self, id: NodeId) {
        let replica = self.node_mut(id).replica.take().unwrap();
        replica.shutdown().await;
    }

    fn live(&self) -> impl Iterator<Item = &Replica> {
        self.nodes.iter().filter_map(|node| node.replica.as_ref())
    }

    /// The node that serves as leader, awaited.
    pub async fn leader(&self) -> NodeId {
        let watches = self.live().map(|replica| {
            let mut watch = replica.watch();
            Box::pin(async move { watch.wait_for(|status| status.serving).await.unwrap().node_id })
        });
        let leading = futures::future::select_all(watches);
        tokio::time::timeout(PATIENCE, leading).await.expect("a leader serves").0
    }

    pub async fn follower(&self) -> NodeId {
        let leader = self.leader().await;
        self.live().map(|replica| replica.status().node_id).find(|id| *id != leader).unwrap()
    }

    /// Waits for a status of this node.
    pub async fn await_status(&self, id: NodeId, what: &str, wanted: impl FnMut(&Status) -> bool) -> Status {
        let mut watch = self.replica(id).watch();
        let reached = tokio::time::timeout(PATIENCE, watch.wait_for(wanted)).await;
        match reached {
            Ok(status) => status.unwrap().clone(),
            Err(_) => panic!("node {id}: {what} did not happen: {:#?}", self.replica(id).status()),
        }
    }

    pub async fn await_applied(&self, id: NodeId, index: LogIndex) -> Status {
        let reached = move |status: &Status| status.applied.is_some_and(|applied| applied.index >= index);
        self.await_status(id, &format!("applying {index}"), reached).await
    }

    pub async fn await_all_applied(&self, index: LogIndex) {
        for replica in self.live() {
            self.await_applied(replica.status().node_id, index).await;
        }
    }

    /// Proposes at whoever leads until it is stored; unknown outcomes are tried again, so entries may be doubled.
    pub async fn store(&self, payload: impl Into<Bytes>) -> Proposed {
        let payload = payload.into();
        let storing = async {
            loop {
                let leader = self.leader().await;
                match self.replica(leader).propose(payload.clone(), 1).await {
                    Ok(proposed) => return proposed,
                    Err(ProposeError::TooLarge { .. }) => panic!("too large"),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, storing).await.expect("something is stored")
    }

    /// All applied entries of a node.
    pub fn entries(&self, id: NodeId) -> Vec<Record> {
        let replica = self.replica(id);
        let until = replica.status().applied.unwrap().index.next();
        let mut records: Vec<Record> = Vec::new();
        while (records.len() as u64) < until.0 {
            let from = LogIndex(records.len() as u64);
            records.extend(replica.read(from, until, 1 << 20).unwrap());
        }
        records
    }

    /// All entries that a node retains: applied and not purged.
    pub fn retained(&self, id: NodeId) -> Vec<Record> {
        let replica = self.replica(id);
        let status = replica.status();
        let mut from = status.purged.map_or(LogIndex(0), |purged| purged.index.next());
        let until = status.applied.unwrap().index.next();
        let mut records: Vec<Record> = Vec::new();
        while from < until {
            let read = replica.read(from, until, 1 << 20).unwrap();
            from = read.last().unwrap().id.index.next();
            records.extend(read);
        }
        records
    }

    /// Asserts that all live nodes hold the same entries, byte for byte, up to the last one that all have applied.
    pub fn assert_equal_entries(&self) -> usize {
        let logs: Vec<Vec<Record>> = self.live().map(|replica| self.entries(replica.status().node_id)).collect();
        let common = logs.iter().map(Vec::len).min().unwrap();
        for log in &logs {
            for (index, (one, other)) in logs[0][..common].iter().zip(log).enumerate() {
                assert_eq!(one.id.index, LogIndex(index as u64));
                assert_eq!((one.id, one.kind, one.payload_crc), (other.id, other.kind, other.payload_crc));
                assert_eq!(one.payload, other.payload);
            }
        }
        common
    }
}
