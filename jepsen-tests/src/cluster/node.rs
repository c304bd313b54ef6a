//! One node of a cluster, and what can be done to its process.

use std::{
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    time::Duration,
};

use super::{
    description::Described,
    process::{self, CommandLine, Signal},
};
use crate::{
    admin,
    failure::{Doing, Failure},
    wait,
};

/// How long a node may take from its start until it answers.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long a node may take to end by itself when it is expected to.
const END_LIMIT: Duration = Duration::from_secs(20);

/// A node. Signals go to its own process id only, and only while that id still has the node's command line.
#[derive(Debug)]
pub struct Node {
    id: u64,
    client: String,
    peer: String,
    http: String,
    /// What `tercetd dev` started, if it started it.
    first_pid: Option<u32>,
    command: CommandLine,
    log: PathBuf,
    /// Ours after a restart; before it, `tercetd dev` is the parent.
    child: Option<Child>,
    /// How its last start lengthened the command line.
    extra: Vec<String>,
    /// Length of the log before its last start.
    log_bytes_before: u64,
}

impl Node {
    pub(super) fn attach(described: Described, folder: &Path) -> Result<Self, Failure> {
        let id = described.id;
        let address = |what: &str, address: Option<String>| {
            address.ok_or_else(|| Failure(format!("cluster.json: node {id} lacks its {what} address")))
        };
        Ok(Self {
            id,
            client: address("client", described.client)?,
            peer: address("peer", described.peer)?,
            http: address("http", described.http)?,
            first_pid: Some(described.pid),
            command: CommandLine::of(described.pid)?,
            log: folder.join(format!("restarted-node-{id}.log")),
            child: None,
            extra: Vec::new(),
            log_bytes_before: 0,
        })
    }

    /// A further node beside this one: its settings, but a number, a folder and addresses of its own. It is not started.
    pub(super) fn beside(&self, id: u64, folder: &Path, [client, peer, http]: [String; 3]) -> Self {
        let data = folder.join(format!("node-{id}")).join("data");
        let own = [
            format!("node.id={id}"),
            format!("node.data_dir={}", data.display()),
            format!("listen.client={client}"),
            format!("listen.peer={peer}"),
            format!("listen.http={http}"),
        ];
        let command = self.command.followed_by(own.into_iter().flat_map(|setting| ["--set".to_owned(), setting]));
        let log = folder.join(format!("restarted-node-{id}.log"));
        Self {
            id,
            client,
            peer,
            http,
            first_pid: None,
            command,
            log,
            child: None,
            extra: Vec::new(),
            log_bytes_before: 0,
        }
    }

    /// Its number in the group.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its process id now.
    ///
    /// # Panics
    /// If it was never started.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.started_pid().expect("it was started")
    }

    fn started_pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id).or(self.first_pid)
    }

    /// Where clients connect.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Where the other nodes connect.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Where metrics and health are.
    #[must_use]
    pub fn http(&self) -> &str {
        &self.http
    }

    /// What it wrote since its first restart.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it was started.
    #[must_use]
    pub fn command(&self) -> &CommandLine {
        &self.command
    }

    /// Whether its process lives.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.started_pid().is_some_and(|pid| process::is_alive(pid) && self.command.is_of(pid, &self.extra))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it does not run.
    pub fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let id = self.id;
        let Some(pid) = self.started_pid().filter(|_| self.is_running()) else {
            return Err(Failure(format!("node {id} does not run")));
        };
        process::signal(pid, signal).doing(|| format!("signal to node {id} (process {pid})"))
    }

    /// Kills it with SIGKILL and waits for its death.
    ///
    /// # Errors
    /// If it does not run, or lives on.
    pub async fn kill(&mut self) -> Result<(), Failure> {
        self.signal(Signal::KILL)?;
        self.wait_until_dead(process::DEATH_LIMIT).await
    }

    /// Stops it as an operator would, with SIGTERM, and waits until it has ended.
    ///
    /// # Errors
    /// If it does not run, or lives on.
    pub async fn stop(&mut self) -> Result<(), Failure> {
        self.signal(Signal::TERM)?;
        self.wait_until_dead(END_LIMIT).await
    }

    pub(super) async fn wait_until_dead(&mut self, limit: Duration) -> Result<(), Failure> {
        let Some(pid) = self.started_pid() else { return Ok(()) };
        process::wait_until_dead(pid, limit).await?;
        if let Some(child) = &mut self.child {
            child.wait().doing(|| "bury a killed node".to_owned())?;
        }
        Ok(())
    }

    /// Starts it again with its own command line, without waiting for anything.
    ///
    /// # Errors
    /// If it still runs, or cannot be started.
    pub fn start(&mut self) -> Result<(), Failure> {
        self.start_with(&[])
    }

    /// The same with further arguments, such as a setting that is to be wrong.
    ///
    /// # Errors
    /// If it still runs, or cannot be started.
    pub fn start_with(&mut self, extra: &[&str]) -> Result<(), Failure> {
        if self.is_running() {
            return Err(Failure(format!("node {} runs already", self.id)));
        }
        self.log_bytes_before = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        self.extra = extra.iter().map(|&word| word.to_owned()).collect();
        self.child = Some(self.command.start(&self.extra, &self.log)?);
        Ok(())
    }

    /// Starts it again and waits until it answers.
    ///
    /// # Errors
    /// If it still runs, cannot be started, or does not answer in time; the text ends with what it wrote last.
    pub async fn restart(&mut self) -> Result<(), Failure> {
        self.start()?;
        let what = format!("node {} answers", self.id);
        wait::until(&what, ANSWER_LIMIT, async || admin::node_status(&self.client).await.ok())
            .await
            .map(drop)
            .map_err(|failure| Failure(format!("{failure}{}", super::log_file::tail_of(&self.log))))
    }

    /// What it wrote since its last start by us.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn said(&self) -> Result<String, Failure> {
        let text = std::fs::read(&self.log).doing(|| format!("read {}", self.log.display()))?;
        let from = usize::try_from(self.log_bytes_before).expect("a log fits into memory");
        Ok(String::from_utf8_lossy(text.get(from..).unwrap_or_default()).into_owned())
    }

    /// Waits until a node that was started by us has ended by itself: how, and what it wrote since that start.
    ///
    /// # Errors
    /// If it goes on.
    pub async fn ended(&mut self) -> Result<(ExitStatus, String), Failure> {
        let id = self.id;
        let child = self.child.as_mut().ok_or_else(|| Failure(format!("node {id} was not started by us")))?;
        let what = format!("the end of node {id}");
        let status = wait::until(&what, END_LIMIT, async || child.try_wait().ok().flatten())
            .await
            .map_err(|failure| Failure(format!("{failure}{}", super::log_file::tail_of(&self.log))))?;
        Ok((status, self.said()?))
    }

    /// Ends it for good if it is ours; else makes sure that it hears its parent's wish to stop.
    pub(super) fn end(&mut self) {
        if let Some(child) = &mut self.child {
            // An error means that it has ended already, which is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        } else {
            let _ = self.signal(Signal::CONT);
        }
    }
}
