//! A three-node group with a nameserver on this machine: `tercetd dev`, and the processes that it starts.
//!
//! Nodes are killed, stopped and restarted as the operating system would do it: by signal, by the node's own process id,
//! and with the node's own command line. Everything ends when the [`Cluster`] is dropped.
//!
//! - [`process`]: one process and its command line, read from the operating system.
//! - [`description`]: the file `cluster.json`.
//! - [`ports`]: a run of free ports.

pub mod description;
pub(crate) mod log_file;
mod node;
pub mod ports;
pub mod process;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use description::{Description, Role};
use log_file::{open_log, tail_of};
pub use node::Node;
use process::Signal;

use crate::{
    admin, binaries,
    failure::{Doing, Failure},
    wait,
};

/// How long three nodes may take from nothing to a leader, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a group may take to have a leader that serves.
const LEADER_LIMIT: Duration = Duration::from_secs(30);
/// How long a clean stop may take before it is forced.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A running development cluster. Dropping it ends its processes.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    dev: Child,
    ports: ports::Run,
    nodes: Vec<Node>,
    endpoint: String,
    /// Held only to be removed at the end.
    _temporary: Option<tempfile::TempDir>,
}

impl Cluster {
    /// Starts three nodes with `sync` durability in a temporary folder, and waits until they serve.
    ///
    /// # Errors
    /// If they do not serve in time; the text ends with what `tercetd dev` wrote last.
    pub async fn start() -> Result<Self, Failure> {
        Self::start_with(&[]).await
    }

    /// The same with further arguments of `tercetd dev`.
    ///
    /// # Errors
    /// If they do not serve in time; the text ends with what `tercetd dev` wrote last.
    pub async fn start_with(arguments: &[&str]) -> Result<Self, Failure> {
        Self::start_in(&std::env::temp_dir(), arguments).await
    }

    /// The same with the temporary folder in `parent`.
    ///
    /// # Errors
    /// If they do not serve in time; the text ends with what `tercetd dev` wrote last.
    pub async fn start_in(parent: &Path, arguments: &[&str]) -> Result<Self, Failure> {
        let temporary = tempfile::Builder::new().prefix("tercet-").tempdir_in(parent);
        let temporary = temporary.doing(|| format!("temporary folder in {}", parent.display()))?;
        let folder = temporary.path().to_owned();
        let log = open_log(&folder.join("dev.log"))?;
        let ports = ports::free()?;
        let dev = Command::new(binaries::tercetd()?)
            .arg("dev")
            .arg("--data-dir")
            .arg(&folder)
            .arg("--port-base")
            .arg(ports.base().to_string())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().doing(|| "log file".to_owned())?)
            .stderr(log)
            .spawn()
            .doing(|| "start tercetd dev".to_owned())?;
        let mut cluster =
            Self { folder, dev, ports, nodes: Vec::new(), endpoint: String::new(), _temporary: Some(temporary) };
        let description = cluster.wait_for_description().await?;
        cluster.endpoint = description.endpoint;
        for process in description.processes.into_iter().filter(|process| process.role == Role::Broker) {
            cluster.nodes.push(Node::attach(process, &cluster.folder)?);
        }
        cluster.leader().await?;
        Ok(cluster)
    }

    async fn wait_for_description(&mut self) -> Result<Description, Failure> {
        let path = self.folder.join("cluster.json");
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(description) = Description::read_if_complete(&path) {
                return Ok(description);
            }
            if let Some(status) = self.dev.try_wait().doing(|| "tercetd dev".to_owned())? {
                return Err(self.failure(&format!("tercetd dev ended with {status} before it was ready")));
            }
            if Instant::now() >= deadline {
                return Err(self.failure(&format!("tercetd dev is not ready after {START_LIMIT:?}")));
            }
            tokio::time::sleep(wait::POLL_INTERVAL).await;
        }
    }

    /// Starts a further node with an empty folder and waits until it answers. It belongs to no group yet.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub async fn add_node(&mut self, id: u64) -> Result<(), Failure> {
        let folder = &self.folder;
        let node = self.nodes[0].beside(id, folder, self.ports.addresses(id));
        std::fs::create_dir_all(folder.join(format!("node-{id}"))).doing(|| format!("folder of node {id}"))?;
        self.nodes.push(node);
        self.node_mut(id).restart().await
    }

    /// The nodes, in the order in which they came.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node with this id.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn node(&self, id: u64) -> &Node {
        self.nodes.iter().find(|node| node.id() == id).expect("the cluster has this node")
    }

    /// The same, to do something to it.
    ///
    /// # Panics
    /// If there is none.
    pub fn node_mut(&mut self, id: u64) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id() == id).expect("the cluster has this node")
    }

    /// The client addresses of all nodes, separated by commas.
    #[must_use]
    pub fn endpoints(&self) -> String {
        self.nodes.iter().map(Node::client).collect::<Vec<_>>().join(",")
    }

    /// What `tercetd dev` says to connect to.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The folder that holds everything of this cluster.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until a node says that it leads and is healthy, and answers with its id.
    ///
    /// # Errors
    /// If there is none in time.
    pub async fn leader(&self) -> Result<u64, Failure> {
        let found = wait::until("a leader", LEADER_LIMIT, async || {
            let mut leaders = Vec::new();
            for node in self.nodes.iter().filter(|node| node.is_running()) {
                if let Ok(status) = admin::node_status(node.client()).await
                    && status.is_healthy_leader
                {
                    leaders.push((status.term, node.id()));
                }
            }
            leaders.into_iter().max().map(|(_, id)| id)
        });
        found.await.map_err(|failure| self.failure(&failure.0))
    }

    /// Kills every running node at once: all signals are sent before the first death is awaited.
    ///
    /// # Errors
    /// If a signal cannot be sent.
    pub async fn kill_all(&mut self) -> Result<(), Failure> {
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            node.signal(Signal::KILL)?;
        }
        for node in &mut self.nodes {
            node.wait_until_dead(process::DEATH_LIMIT).await?;
        }
        Ok(())
    }

    /// Waits until these nodes have applied what the leader has committed now; answers with that index.
    ///
    /// # Errors
    /// If one does not within `limit`.
    pub async fn caught_up(&self, ids: &[u64], limit: Duration) -> Result<u64, Failure> {
        let leader = self.leader().await?;
        let target = admin::node_status(self.node(leader).client()).await?.committed;
        for node in ids.iter().map(|id| self.node(*id)) {
            let what = format!("node {} has applied entry {target}", node.id());
            wait::until(&what, limit, async || {
                let status = admin::node_status(node.client()).await.ok()?;
                (status.applied >= target).then_some(())
            })
            .await
            .map_err(|failure| self.failure(&failure.0))?;
        }
        Ok(target)
    }

    /// The folder with the log and the state of a node.
    ///
    /// # Errors
    /// If there is none.
    pub fn data_folder(&self, id: u64) -> Result<PathBuf, Failure> {
        let own = self.folder.join(format!("node-{id}"));
        [own.clone(), own.join("data")]
            .into_iter()
            .find(|folder| folder.join("identity").is_file())
            .ok_or_else(|| Failure(format!("no data folder in {}", own.display())))
    }

    /// Stops everything cleanly, as a person would: SIGTERM to `tercetd dev`.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn stop(mut self) -> Result<ExitStatus, Failure> {
        process::signal(self.dev.id(), Signal::TERM).doing(|| "SIGTERM to tercetd dev".to_owned())?;
        let dev = &mut self.dev;
        wait::until("tercetd dev stopped", STOP_LIMIT, async || dev.try_wait().ok().flatten()).await
    }

    /// What each node says of itself and the end of all logs, for error texts.
    pub async fn state(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            let status = match admin::node_status(node.client()).await {
                Ok(status) => format!("{status:?}"),
                Err(failure) => failure.to_string(),
            };
            let life = if node.is_running() { format!("process {}", node.pid()) } else { "dead".to_owned() };
            text.push_str(&format!("\nnode {} ({life}): {status}", node.id()));
        }
        text + &self.failure("").0
    }

    /// `text`, followed by the end of the logs.
    fn failure(&self, text: &str) -> Failure {
        let mut text = format!("{text}{}", tail_of(&self.folder.join("dev.log")));
        for node in &self.nodes {
            text.push_str(&tail_of(&self.folder.join(format!("node-{}.log", node.id()))));
            text.push_str(&tail_of(node.log()));
        }
        Failure(text)
    }
}

impl Drop for Cluster {
    /// Kills what was restarted by us, then lets `tercetd dev` stop its children, by force if that takes too long.
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.end();
        }
        // An error means that it has ended already, which is what is wanted.
        let _ = process::signal(self.dev.id(), Signal::TERM);
        let deadline = Instant::now() + STOP_LIMIT;
        while matches!(self.dev.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(wait::POLL_INTERVAL);
        }
        for node in &self.nodes {
            let _ = node.signal(Signal::KILL);
        }
        let _ = self.dev.kill();
        let _ = self.dev.wait();
    }
}
