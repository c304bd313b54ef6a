//! `tercet.admin.v1`: bootstrap, members, topics, consumer groups, status and inspection, on the client port of every node.
//!
//! What changes or lists the group's state is done at the leader, and is linearizable; what says "of this node" is
//! answered here. Failures are gRPC statuses whose codes the .proto file lists.

mod at_leader;
mod cluster;
mod convert;
mod describe_group;
mod groups;
mod inspect;
mod level;
mod members;
mod service;
mod topics;

pub use service::Administration;
