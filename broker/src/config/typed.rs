//! The configuration as the rest of the program sees it: typed, and known to be consistent.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use raft_log::types::{GroupId, NodeId};

use super::address::HostPort;
use crate::state::FlushTriggers;

/// Everything that can be set. One value serves all commands of `tercetd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[node]`
    pub node: Node,
    /// `[listen]`
    pub listen: Listen,
    /// `[advertise]`, with the listen addresses filled in where nothing was given.
    pub advertise: Advertise,
    /// `[tls]`; absent: self-signed.
    pub tls: Option<Tls>,
    /// `peer.secret_file`; absent: the secret is made at bootstrap.
    pub peer_secret_file: Option<PathBuf>,
    /// `[cluster] voters`
    pub voters: Vec<Voter>,
    /// `[discovery]`
    pub discovery: Discovery,
    /// `[storage]`
    pub storage: Storage,
    /// `[retention]`
    pub retention: Retention,
    /// `[election]`
    pub election: Election,
    /// `[limits]`
    pub limits: Limits,
    /// `[consume]`
    pub consume: Consume,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[logging]`
    pub logging: Logging,
    /// `[shutdown]`
    pub shutdown: Shutdown,
    /// `[nameserver]`
    pub nameserver: NameServer,
}

/// Who this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table documents each setting")]
pub struct Node {
    pub id: NodeId,
    pub group: GroupId,
    pub data_dir: PathBuf,
}

/// Where this broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table documents each setting")]
pub struct Listen {
    pub client: SocketAddr,
    pub peer: SocketAddr,
    pub http: SocketAddr,
}

/// What others connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table documents each setting")]
pub struct Advertise {
    pub client: HostPort,
    pub peer: HostPort,
    pub http: HostPort,
}

/// A certificate of the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table documents each setting")]
pub struct Tls {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    pub client_ca_file: Option<PathBuf>,
}

/// A node that a new group starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its number.
    pub id: NodeId,
    /// Its advertised peer address.
    pub peer: HostPort,
}

impl FromStr for Voter {
    type Err = String;

    fn from_str(text: &str) -> Result<Voter, String> {
        let (id, peer) = text.split_once('=').ok_or_else(|| format!("`{text}` is not id=host:port"))?;
        let id = id.trim().parse().map_err(|_| format!("`{text}` does not start with a node id"))?;
        if id == 0 {
            return Err(format!("`{text}`: node ids start at 1"));
        }
        Ok(Voter { id: NodeId(id), peer: peer.trim().parse()? })
    }
}

/// The nameservers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table documents each setting")]
pub struct Discovery {
    pub nameservers: Vec<HostPort>,
    pub heartbeat_interval: Duration,
}

/// When a message counts as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A majority has fsynced it.
    Sync,
    /// A majority has it in the page cache.
    Async,
}

/// The log on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table documents each setting")]
pub struct Storage {
    pub durability: Durability,
    pub segment_bytes_max: u64,
    pub cache_bytes_max: u64,
    /// Let a node vote at once that may have forgotten what it acknowledged.
    pub accept_async_loss: bool,
    pub flush: FlushTriggers,
    pub scrub_bytes_per_second: u64,
}

/// What is kept of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table documents each setting")]
pub struct Retention {
    pub age: Duration,
    /// `None`: the log's size does not matter.
    pub bytes: Option<u64>,
    pub age_pace_max: u32,
    pub clock_disagreement_max: Duration,
    pub trim_percent_max: u8,
    pub disk_high_water_percent: u8,
}

/// Election timing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table documents each setting")]
pub struct Election {
    pub heartbeat_interval: Duration,
    pub timeout_min: Duration,
    pub timeout_max: Duration,
}

/// Bounds (hazards 26).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table documents each setting")]
pub struct Limits {
    pub request_bytes_max: usize,
    pub batch_bytes_max: usize,
    pub receive_bytes_max: usize,
    pub publish_bytes_in_flight_max: usize,
    pub proposal_deadline: Duration,
    pub connections_max: usize,
}

/// Consumption.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table documents each setting")]
pub struct Consume {
    pub auto_create_group: bool,
    pub unused_group_age: Duration,
    pub idle_group_age: Duration,
    pub long_poll_max: Duration,
}

/// What is shown to monitoring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Groups in topics whose backlog the leader shows.
    pub backlogs_max: usize,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table documents each setting")]
pub struct Logging {
    pub level: String,
    pub format: LogFormat,
}

/// How the process stops.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table documents each setting")]
pub struct Shutdown {
    pub deadline: Duration,
}

/// The nameserver process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table documents each setting")]
pub struct NameServer {
    pub listen: SocketAddr,
    pub http: SocketAddr,
    pub silent_max: Duration,
    pub brokers_max: usize,
}
