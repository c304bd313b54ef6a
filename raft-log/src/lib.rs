//! A replicated, segmented commit log on Raft.

pub mod env;
mod identity;
mod membership;
mod raft;
mod replica;
mod state_machine;
pub mod storage;
pub mod types;

pub use identity::IdentityError;
pub use membership::{MemberNode, Membership, MembershipDecodeError, NodeAddresses};
pub use replica::{
    BootstrapError, ElectionOptions, Health, Leader, Member, OpenError, PeerListen, ProposeError, Proposed, ReadError,
    Replica, ReplicaOptions, Role, Status, TransferError,
};
pub use state_machine::{AppliedPoint, ApplyEntry, ApplyError, ApplyKind, StateMachine};
pub use storage::{Durability, Record, RecordKind};
