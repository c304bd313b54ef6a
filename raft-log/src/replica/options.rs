//! What a replica is opened with. Plain values; the disk, the clock and randomness come apart, in [`Env`](crate::env::Env).

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use crate::membership::NodeAddresses;
use crate::raft::retention::AGE_PACE_MAX;
use crate::secret::PeerSecret;
use crate::storage::{Durability, Sizes};
use crate::types::{GroupId, NodeId};

/// Where a replica listens for its peers.
#[derive(Debug)]
pub enum PeerListen {
    /// Bind this address; port 0 takes any free one.
    Address(SocketAddr),
    /// A socket that is already bound and listening, for callers that must know the port before opening.
    Bound(TcpListener),
    /// Handed over to an opened replica already.
    Taken,
}

/// Times of elections. The group's lease is `timeout_max`: a campaign starts after the lease plus a random time
/// between `timeout_min` and `timeout_max` (hazards 12).
///
/// The defaults were measured on two cores with three replicas in one process, 20 killed leaders each, by
/// `cargo run -p raft-log --example bench -- failover`: see the crate's documentation for the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElectionOptions {
    /// How often a leader tells each follower that it lives.
    pub heartbeat_interval: Duration,
    /// The shortest wait after the lease before a campaign.
    pub timeout_min: Duration,
    /// The longest wait after the lease before a campaign, and the lease itself.
    pub timeout_max: Duration,
}

impl Default for ElectionOptions {
    fn default() -> Self {
        ElectionOptions {
            heartbeat_interval: Duration::from_millis(100),
            timeout_min: Duration::from_millis(300),
            timeout_max: Duration::from_millis(500),
        }
    }
}

/// So many percent below the high-water mark of a disk, what nobody has yet to read begins to go before its time: with
/// readers that keep up, a log that fills its disk is never refused anything.
pub const RELEASE_AHEAD_PERCENT: u8 = 5;

/// How much of the log is kept, and how followers that are behind it are brought up.
///
/// A segment goes once it exceeds a bound, the state machine no longer needs it, and a checkpoint stands for it; so up to
/// one segment more than a bound says stays, or more while something in it is needed (hazards 23, 24). What exceeds a
/// bound goes in steps, so that a mistake is slow and can be seen (hazards 35).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionOptions {
    /// Entries older than this go, by the stamps that the state machine reads from them
    /// ([`StateMachine::stamp_reader`](crate::StateMachine::stamp_reader)), while the members' clocks agree. `None`: age
    /// does not matter.
    pub age_max: Option<Duration>,
    /// In the time of `age_max`, trimming by age takes at most this many times the whole log: all of it, if it looks too
    /// old at once, takes `age_max` divided by this.
    pub age_pace_max: u32,
    /// Nothing goes by age while the known clocks of the members differ by more than this, nor when the leader's wall clock
    /// has jumped by more than this against its monotonic one.
    pub clock_disagreement_max: Duration,
    /// The oldest segments go while all of them take more than this. `None`: their size does not matter.
    pub bytes_max: Option<u64>,
    /// One trim takes at most this share of the log, and a segment at least; the next one follows at the next look.
    pub trim_percent_max: u8,
    /// Above this percentage of the file system of the data folder, whatever fills it, publishes are refused, no spare
    /// segments are kept, and what is trimmed goes even while a follower catches up. Entries that somebody has yet to read
    /// never go because of it (hazards 35); those that nobody has, if the state machine tells them
    /// ([`StateMachine::release_command`](crate::StateMachine::release_command)), go from [`RELEASE_AHEAD_PERCENT`] below
    /// the mark on. 100: never.
    pub disk_high_water_percent: u8,
    /// How often the bounds are looked at.
    pub check_interval: Duration,
    /// Checkpoints that are kept; more of them let the log be purged closer to its bounds.
    pub checkpoints_max: usize,
    /// A bound on sending checkpoints to followers.
    pub transfer_bytes_per_second: u64,
}

impl Default for RetentionOptions {
    /// Keeps everything.
    fn default() -> Self {
        RetentionOptions {
            age_max: None,
            age_pace_max: AGE_PACE_MAX,
            clock_disagreement_max: Duration::from_secs(10),
            bytes_max: None,
            trim_percent_max: 5,
            disk_high_water_percent: 100,
            check_interval: Duration::from_secs(1),
            checkpoints_max: 16,
            transfer_bytes_per_second: 64 << 20,
        }
    }
}

/// Settings of one replica.
#[derive(Debug)]
pub struct ReplicaOptions {
    /// This node. Never used again for another data folder (hazards 2).
    pub node_id: NodeId,
    /// The group that this replica belongs to.
    pub group: GroupId,
    /// The data folder; made when it is missing.
    pub dir: PathBuf,
    /// Where peers connect to.
    pub peer_listen: PeerListen,
    /// What this node tells others to connect to.
    pub advertised: NodeAddresses,
    /// What the nodes of the cluster prove to each other that they belong to it. With it the node talks to nobody who does
    /// not hold it. `None`: the secret is made at bootstrap and comes with the claim; until then whoever reaches the peer
    /// port of an empty node can claim it.
    pub peer_secret: Option<PeerSecret>,
    /// Whether an acknowledgement waits for fsync.
    pub durability: Durability,
    /// Times of elections.
    pub election: ElectionOptions,
    /// Accept that entries are lost which this node acknowledged in [`Durability::Async`] before its machine stopped, and let
    /// it vote at once (hazards 10). For one start, when there can be no leader without it.
    pub accept_async_loss: bool,
    /// A disk that finishes no write for this long keeps the node out of elections; a leader hands over.
    pub disk_stall_max: Duration,
    /// How fast the scrub reads segments to find damage; 0 turns it off.
    pub scrub_bytes_per_second: u64,
    /// Size at which a log segment is full.
    pub segment_bytes_max: u64,
    /// Distances inside of a log segment; the defaults fit.
    pub sizes: Sizes,
    /// How much of the log is kept.
    pub retention: RetentionOptions,
    /// Log tail kept in memory for followers and readers.
    pub cache_bytes_max: usize,
    /// Largest payload of one entry; at most [`ENTRY_BYTES_LIMIT`](crate::ENTRY_BYTES_LIMIT).
    pub entry_bytes_max: usize,
    /// Payload bytes of proposals that have no outcome yet, and of entries that this node's disk still owes; more are refused as
    /// overloaded.
    pub propose_bytes_in_flight_max: usize,
    /// How long a proposal may stay without outcome before it is answered as unknown.
    pub propose_deadline: Duration,
}

impl ReplicaOptions {
    /// Options with the defaults of the broker: `sync`, 1 GiB segments, 8 MiB entries.
    #[must_use]
    pub fn new(
        node_id: NodeId,
        group: GroupId,
        dir: PathBuf,
        peer_listen: PeerListen,
        advertised: NodeAddresses,
    ) -> ReplicaOptions {
        ReplicaOptions {
            node_id,
            group,
            dir,
            peer_listen,
            advertised,
            peer_secret: None,
            durability: Durability::Sync,
            election: ElectionOptions::default(),
            accept_async_loss: false,
            disk_stall_max: Duration::from_secs(3),
            scrub_bytes_per_second: 4 << 20,
            segment_bytes_max: 1 << 30,
            sizes: Sizes::default(),
            retention: RetentionOptions::default(),
            cache_bytes_max: 64 << 20,
            entry_bytes_max: 8 << 20,
            propose_bytes_in_flight_max: 64 << 20,
            propose_deadline: Duration::from_secs(5),
        }
    }
}
