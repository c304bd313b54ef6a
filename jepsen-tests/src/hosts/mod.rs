//! Three nodes, each on a host of its own: a network namespace with its own address, all on one bridge. Linux, as root.
//!
//! ```text
//!   this process ── bridge 10.83.0.254 ──┬── veth ══ namespace of node 1: tercetd broker, 10.83.0.1
//!                                        ├── veth ══ namespace of node 2 ...
//!                                        └── veth ══ namespace of node 3 ...
//! ```
//! A node is isolated by taking its cable off the bridge: no packet passes in either direction, and nothing is closed.
//! That is what a loopback cluster cannot show. Everything ends when the [`Hosts`] are dropped.

mod network;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use network::{Cable, Network};
use rustix::process::Signal;
use tercet_proto::admin::v1::{BootstrapRequest, Voter};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    admin, binaries,
    cluster::process,
    failure::{Doing, Failure},
    wait,
};

const NODES: u64 = 3;
const CLIENT_PORT: u16 = 8081;
const PEER_PORT: u16 = 10911;
const HTTP_PORT: u16 = 8080;
/// How long three nodes, or one that is restarted, may take until they answer.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a node that was told to stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Runs a measurement until its end or a SIGTERM or SIGINT: hosts and processes are taken down in either case.
///
/// # Errors
/// Those of the measurement, and being stopped.
pub async fn until_stopped<T>(measurement: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut term = signal(SignalKind::terminate()).doing(|| "SIGTERM".to_owned())?;
    let mut interrupt = signal(SignalKind::interrupt()).doing(|| "SIGINT".to_owned())?;
    let stopped = || Err(Failure("stopped by a signal".to_owned()));
    tokio::select! {
        result = measurement => result,
        _ = term.recv() => stopped(),
        _ = interrupt.recv() => stopped(),
    }
}

/// A node and its host.
#[derive(Debug)]
pub struct Host {
    id: u64,
    cable: Cable,
    client: String,
    child: Option<Child>,
}

/// A running group.
#[derive(Debug)]
pub struct Hosts {
    hosts: Vec<Host>,
    settings: Vec<String>,
    folder: tempfile::TempDir,
    _network: Network,
}

impl Hosts {
    /// Starts three nodes with these settings (`name=value`) over the defaults, and makes a group of them.
    ///
    /// # Errors
    /// If this is not root on Linux, or the group does not serve in time.
    pub async fn start(settings: &[String]) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("tercet-").tempdir().doing(|| "temporary folder".to_owned())?;
        let network = Network::make()?;
        let mut hosts = Vec::new();
        for id in 1..=NODES {
            let cable = network.host(id)?;
            let client = format!("{}:{CLIENT_PORT}", cable.address());
            hosts.push(Host { id, cable, client, child: None });
        }
        let mut hosts = Self { hosts, settings: settings.to_vec(), folder, _network: network };
        for id in 1..=NODES {
            hosts.restart(id).await?;
        }
        hosts.bootstrap().await?;
        hosts.leader().await?;
        Ok(hosts)
    }

    async fn bootstrap(&self) -> Result<(), Failure> {
        let voter = |host: &Host| Voter { node_id: host.id, peer: format!("{}:{PEER_PORT}", host.cable.address()) };
        let request = BootstrapRequest { voters: self.hosts.iter().map(voter).collect() };
        let answer = admin::connect(self.client(1)).await?.bootstrap(request).await;
        answer.doing(|| "bootstrap".to_owned()).map(drop)
    }

    /// Where clients reach a node.
    #[must_use]
    pub fn client(&self, id: u64) -> &str {
        &self.host(id).client
    }

    /// The client addresses of all nodes, separated by commas.
    #[must_use]
    pub fn endpoints(&self) -> String {
        self.hosts.iter().map(|host| host.client.as_str()).collect::<Vec<_>>().join(",")
    }

    /// The ids of all nodes.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        1..=NODES
    }

    /// The node that leads and serves, awaited, and its term.
    ///
    /// # Errors
    /// If there is none in time.
    pub async fn leader(&self) -> Result<(u64, u64), Failure> {
        let found = wait::until("a leader", START_LIMIT, async || {
            let mut leaders = Vec::new();
            for host in self.hosts.iter().filter(|host| host.child.is_some()) {
                if let Ok(status) = admin::node_status(&host.client).await
                    && status.is_healthy_leader
                {
                    leaders.push((host.id, status.term));
                }
            }
            leaders.into_iter().max_by_key(|(_, term)| *term)
        });
        found.await.map_err(|failure| self.failure(&failure.0))
    }

    /// Waits until all nodes have applied what the leader has committed now.
    ///
    /// # Errors
    /// If one does not in time.
    pub async fn all_caught_up(&self) -> Result<(), Failure> {
        let (leader, _) = self.leader().await?;
        let target = admin::node_status(self.client(leader)).await?.committed;
        for host in &self.hosts {
            let caught_up = wait::until("a node catches up", START_LIMIT, async || {
                let status = admin::node_status(&host.client).await.ok()?;
                (status.applied >= target).then_some(())
            });
            caught_up.await.map_err(|failure| self.failure(&failure.0))?;
        }
        Ok(())
    }

    /// Sends a signal to a node.
    ///
    /// # Errors
    /// If it does not run.
    pub fn signal(&self, id: u64, signal: Signal) -> Result<(), Failure> {
        let child = self.host(id).child.as_ref().ok_or_else(|| Failure(format!("node {id} does not run")))?;
        process::signal(child.id(), signal).doing(|| format!("signal to node {id}"))
    }

    /// Waits until a node that was killed or told to stop has ended.
    ///
    /// # Errors
    /// If it goes on.
    pub async fn ended(&mut self, id: u64) -> Result<(), Failure> {
        let host = self.host_mut(id);
        let Some(child) = &mut host.child else { return Ok(()) };
        wait::until("a node's end", STOP_LIMIT, async || child.try_wait().ok().flatten()).await?;
        host.child = None;
        Ok(())
    }

    /// Starts a node and waits until it answers.
    ///
    /// # Errors
    /// If it runs already, or does not answer in time.
    pub async fn restart(&mut self, id: u64) -> Result<(), Failure> {
        let log = crate::cluster::log_file::open_log(&self.log(id))?;
        let data = self.folder.path().join(format!("node-{id}"));
        let host = self.host(id);
        let listen = |name: &str, port: u16| format!("listen.{name}={}:{port}", host.cable.address());
        let own = [
            format!("node.id={id}"),
            format!("node.data_dir={}", data.display()),
            "storage.segment_bytes_max=256MiB".to_owned(),
            listen("client", CLIENT_PORT),
            listen("peer", PEER_PORT),
            listen("http", HTTP_PORT),
        ];
        let mut command = Command::new("ip");
        command.args(["netns", "exec", host.cable.namespace()]).arg(binaries::tercetd()?).arg("broker");
        for setting in own.iter().chain(&self.settings) {
            command.args(["--set", setting]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().doing(|| "log file".to_owned())?)
            .stderr(log)
            .spawn()
            .doing(|| format!("start node {id}"))?;
        self.host_mut(id).child = Some(child);
        let client = self.client(id);
        wait::until("a node answers", START_LIMIT, async || admin::node_status(client).await.ok())
            .await
            .map_err(|failure| self.failure(&failure.0))?;
        Ok(())
    }

    /// Takes a node off the network; nothing is closed.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn isolate(&self, id: u64) -> Result<(), Failure> {
        self.host(id).cable.unplug()
    }

    /// Puts it back.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn heal(&self, id: u64) -> Result<(), Failure> {
        self.host(id).cable.plug()
    }

    /// Resets every connection between the nodes, as a firewall or proxy that restarts does.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn reset_connections(&self) -> Result<(), Failure> {
        std::thread::scope(|scope| {
            let resets: Vec<_> = self.hosts.iter().map(|host| scope.spawn(|| host.cable.reset(PEER_PORT))).collect();
            resets.into_iter().try_for_each(|reset| reset.join().expect("a reset does not panic"))
        })
    }

    fn host(&self, id: u64) -> &Host {
        self.hosts.iter().find(|host| host.id == id).expect("the group has this node")
    }

    fn host_mut(&mut self, id: u64) -> &mut Host {
        self.hosts.iter_mut().find(|host| host.id == id).expect("the group has this node")
    }

    fn log(&self, id: u64) -> PathBuf {
        self.folder.path().join(format!("node-{id}.log"))
    }

    /// `text`, followed by the end of the logs.
    fn failure(&self, text: &str) -> Failure {
        let tails = self.hosts.iter().map(|host| crate::cluster::log_file::tail_of(Path::new(&self.log(host.id))));
        Failure(format!("{text}{}", tails.collect::<String>()))
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for child in self.hosts.iter_mut().filter_map(|host| host.child.as_mut()) {
            // An error means that it has ended already, which is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
