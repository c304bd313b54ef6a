//! The RPCs against a real group: three replicas in one process, on loopback ports and real files, driven by the
//! generated client. What a single conversion answers is tested beside it; here is what needs state, a log and a leader.

#[path = "service_rpc/admin.rs"]
mod admin;
#[path = "service_rpc/backlog.rs"]
mod backlog;
#[path = "service_rpc/consume.rs"]
mod consume;
#[path = "service_rpc/consume_stream.rs"]
mod consume_stream;
#[path = "service_rpc/delete.rs"]
mod delete;
#[path = "service_rpc/describe_group.rs"]
mod describe_group;
#[path = "service_rpc/edges.rs"]
mod edges;
#[path = "service_rpc/failover.rs"]
mod failover;
#[path = "service_rpc/fifo.rs"]
mod fifo;
#[path = "service_rpc/forwarding.rs"]
mod forwarding;
#[path = "service_rpc/publish.rs"]
mod publish;
#[path = "service_rpc/publish_stream.rs"]
mod publish_stream;
#[path = "service_rpc/rig.rs"]
mod rig;
#[path = "service_rpc/stopping.rs"]
mod stopping;
#[path = "service_rpc/stream_ends.rs"]
mod stream_ends;
#[path = "service_rpc/stream_rig.rs"]
mod stream_rig;
