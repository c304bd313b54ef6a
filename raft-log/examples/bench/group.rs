//! Three replicas on loopback with a state machine that does nothing.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use raft_log::env::Env;
use raft_log::types::{GroupId, NodeId};
use raft_log::{Durability, ElectionOptions, NodeAddresses, PeerListen, Replica, ReplicaOptions};

use crate::arguments::Arguments;
use crate::machine::Nothing;

pub(crate) struct Group {
    dir: PathBuf,
    _folder: tempfile::TempDir,
    listen: Vec<String>,
    durability: Durability,
    election: ElectionOptions,
    segment_bytes_max: u64,
    log_bytes_max: Option<u64>,
    pub(crate) replicas: Vec<Option<Replica>>,
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.expect("a free port").to_string()
}

impl Group {
    pub(crate) async fn open(arguments: &Arguments) -> Group {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let base: PathBuf = arguments.get("dir", folder.path().to_owned());
        let durability = match arguments.get("durability", "sync".to_owned()).as_str() {
            "sync" => Durability::Sync,
            "async" => Durability::Async,
            other => panic!("--durability {other}: sync or async"),
        };
        let default = ElectionOptions::default();
        let millis = |name: &str, default: Duration| {
            Duration::from_millis(arguments.get(name, u64::try_from(default.as_millis()).expect("short")))
        };
        let election = ElectionOptions {
            heartbeat_interval: millis("heartbeat-ms", default.heartbeat_interval),
            timeout_min: millis("timeout-min-ms", default.timeout_min),
            timeout_max: millis("timeout-max-ms", default.timeout_max),
        };
        let listen: Vec<String> = (0..3).map(|_| free_address()).collect();
        let segment_bytes_max = arguments.get::<u64>("segment-mb", 1024) << 20;
        let log_bytes_max = Some(arguments.get::<u64>("keep-mb", 0) << 20).filter(|bytes| *bytes > 0);
        let replicas = vec![None, None, None];
        let _folder = folder;
        let mut group =
            Group { dir: base, _folder, listen, durability, election, segment_bytes_max, log_bytes_max, replicas };
        for place in 0..3 {
            group.restart(place).await;
        }
        let voters = (1..=3).map(NodeId).zip(group.listen.clone()).collect();
        group.replica(0).bootstrap(voters).await.expect("three empty nodes form a group");
        group
    }

    pub(crate) fn replica(&self, place: usize) -> &Replica {
        self.replicas[place].as_ref().expect("it is open")
    }

    /// The data folder of a replica.
    pub(crate) fn folder(&self, place: usize) -> PathBuf {
        self.dir.join(format!("node-{}", place + 1))
    }

    /// The places of the replicas that are open.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> {
        (0..self.replicas.len()).filter(|place| self.replicas[*place].is_some())
    }

    /// The node at a place.
    pub(crate) fn id(place: usize) -> NodeId {
        NodeId(place as u64 + 1)
    }

    /// Where its peers reach it.
    pub(crate) fn address(&self, place: usize) -> &str {
        &self.listen[place]
    }

    /// Removes the folder of a replica that was killed: the place of a node with a fresh id, which is not open yet.
    pub(crate) fn replace_by_an_empty_one(&mut self, place: usize) -> usize {
        std::fs::remove_dir_all(self.folder(place)).expect("a folder that nobody uses is removed");
        // Freeing so much holds up the file system, which is not what is measured.
        let parent = std::fs::File::open(&self.dir).and_then(|dir| dir.sync_all());
        parent.expect("the removal becomes durable");
        self.listen.push(free_address());
        self.replicas.push(None);
        self.replicas.len() - 1
    }

    pub(crate) async fn restart(&mut self, place: usize) {
        let id = Group::id(place);
        let peer = self.listen[place].clone();
        let listen = PeerListen::Address(peer.parse().expect("it was printed by an address"));
        let advertised = NodeAddresses { peer, ..NodeAddresses::default() };
        let mut options = ReplicaOptions::new(id, GroupId(1), self.folder(place), listen, advertised);
        options.durability = self.durability;
        options.election = self.election;
        options.segment_bytes_max = self.segment_bytes_max;
        options.retention.bytes_max = self.log_bytes_max;
        let opened = Replica::open(options, Env::real(), Nothing::default()).await;
        self.replicas[place] = Some(opened.expect("the replica opens"));
    }

    /// Ends a replica as a crash would.
    pub(crate) async fn kill(&mut self, place: usize) {
        let replica = self.replicas[place].take();
        tokio::task::spawn_blocking(move || drop(replica)).await.expect("dropping does not panic");
    }

    pub(crate) async fn leader(&self) -> usize {
        let watches = self.replicas.iter().flatten().map(|replica| {
            let mut watch = replica.watch();
            Box::pin(async move { watch.wait_for(|status| status.serving).await.map(|status| status.node_id) })
        });
        let id = futures::future::select_all(watches).await.0.expect("the status lives");
        usize::try_from(id.0).expect("few nodes") - 1
    }
}
