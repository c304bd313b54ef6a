#![doc = include_str!("manual.md")]

mod checkpoint;
pub mod env;
mod exec;
mod identity;
pub mod inspect;
mod last_run;
mod membership;
mod openings;
#[cfg(tercet_sim)]
pub mod planted;
#[cfg(not(tercet_sim))]
mod planted;
mod raft;
mod replica;
mod secret;
#[cfg(tercet_sim)]
pub mod sim;
mod state_machine;
pub mod storage;
pub mod types;

pub use identity::IdentityError;
pub use membership::{MemberNode, Membership, MembershipDecodeError, NodeAddresses};
pub use raft::gate_reason::GateReason;
pub use raft::retention::AgePause;
pub use raft::wire::ENTRY_BYTES_LIMIT;
#[cfg(tercet_sim)]
pub use replica::Standing;
pub use replica::{
    BootstrapError, ChangeError, ElectionOptions, Health, Leader, Member, OpenError, PeerListen, ProposeError,
    Proposed, RELEASE_AHEAD_PERCENT, ReadError, Replica, ReplicaOptions, RetentionOptions, Role, Status, TransferError,
};
pub use secret::{PeerSecret, SecretParseError};
pub use state_machine::{
    AppliedPoint, ApplyEntry, ApplyError, ApplyKind, FinishCheckpoint, FinishFlush, FlushNeed, MakeCommand,
    PrepareRestore, StampReader, StateMachine,
};
pub use storage::{Durability, Record, RecordKind, Room, Sizes};
