//! A replicated, segmented commit log on Raft: useful by itself, without a broker around it.
//!
//! One [`Replica`] per node; three of them, on three machines, are a group with one log. An entry is a payload of bytes
//! that the library never looks into. It is acknowledged once a majority holds it on disk and the leader's
//! [`StateMachine`] has applied it.
//!
//! ```text
//!                        ┌──────────────── a replica ────────────────┐
//!   propose(payload) ──► │ leader: append ──► own log, and followers  │ ──► Proposed { id, response }
//!                        │                    (in parallel)          │     or NotLeader, Overloaded, TooLarge:
//!   peers' frames ─────► │ follower: append ──► own log ──► answer    │     not stored; or Unknown
//!                        │ committed by a majority ──► StateMachine   │
//!   read(from, until) ─► │ applied entries only                       │ ──► records
//!                        │                                            │
//!   bootstrap, transfer  │ elections, heartbeats, pre-votes           │ ──► watch(): role, term, positions, health
//!                        └────────────────────────────────────────────┘
//! ```
//!
//! # Modules, lowest first
//! - [`types`]: positions, terms, identities.
//! - [`mod@env`]: the only door to files, clocks and randomness, with a simulated twin.
//! - [`storage`]: segments, hard state, recovery. Knows nothing of Raft's protocol.
//! - `raft`: openraft on the log, the state machine's thread and the network.
//! - `replica`: the public face.
//! - [`inspect`]: what is in a stopped node's files, and what is wrong with them.
//!
//! # Threads of a replica
//! One runs openraft and all peer connections, one does the log's I/O, one owns the state machine. Calls on a
//! [`Replica`] come from any runtime of the caller's.
//!
//! # What may be relied on
//! - What was answered as stored survives the loss of a minority of the disks, and with
//!   [`Durability::Sync`] a loss of power on all nodes.
//! - Only [`ProposeError::Unknown`] may be stored; every other error is certain not to be.
//! - A data folder belongs to one node for ever. A wiped one is refused by its peers under the old id, because it has
//!   forgotten what it voted for; let it join under a fresh id.
//! - A failed write or sync stops the node; see [`Replica::failed`].
//!
//! # Elections
//! A leader whose process dies is replaced within moments: its peers notice the closed connections and ask each other. One
//! that falls silent without closing anything (stopped, or cut off) is replaced after the lease,
//! [`ElectionOptions::timeout_max`], plus a random time of at least [`ElectionOptions::timeout_min`].
//!
//! Measured with `--example bench -- failover`: three replicas in one process on two cores, 20 killed leaders a row, time
//! from the kill to the next stored entry. No election happened without cause.
//!
//! | other load | median | max |
//! |---|---|---|
//! | none | 0.09 s | 0.16 s |
//! | 8 busy threads | 0.13 s | 0.38 s |
//! | none, and no notice of closed connections | 1.25 s | 1.37 s |
//!
//! See `examples/three_replicas.rs` for a whole group in one process.

mod checkpoint;
pub mod env;
mod exec;
mod identity;
pub mod inspect;
mod membership;
mod raft;
mod replica;
#[cfg(tercet_sim)]
pub mod sim;
mod state_machine;
pub mod storage;
pub mod types;

pub use identity::IdentityError;
pub use membership::{MemberNode, Membership, MembershipDecodeError, NodeAddresses};
pub use raft::vote_gate::GateReason;
pub use replica::{
    BootstrapError, ElectionOptions, Health, Leader, Member, OpenError, PeerListen, ProposeError, Proposed, ReadError,
    Replica, ReplicaOptions, RetentionOptions, Role, Status, TransferError,
};
pub use state_machine::{AppliedPoint, ApplyEntry, ApplyError, ApplyKind, StateMachine};
pub use storage::{Durability, Record, RecordKind};
