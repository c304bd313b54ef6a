//! Replicas over TCP: the client side that openraft drives, and the server side that drives openraft.
//!
//! ```text
//!   leader                                                          follower
//!   replication ─► PeerLink::stream_append ─► pipeline ══ append ══► serve ─► Raft::stream_append
//!   heartbeats  ─► PeerLink, kept (a connection of its own) ═══════► serve ─► Raft::stream_append
//!   elections   ─► PeerLink::{vote, pre_vote, transfer}, calls ════► serve ─► Raft::{vote, pre_vote, ..}
//!   far behind  ─► PeerLink::full_snapshot ─► transfer ══ checkpoint ═► receive ─► Raft::install_full_snapshot
//! ```
//! Heartbeats have their own connection, so that a megabyte of entries never delays them. Every connection begins with
//! the handshake of [`wire::handshake`](super::wire::handshake), checked on both sides by [`peers`].

mod appends;
pub(crate) mod calls;
pub(crate) mod checked;
pub(crate) mod confirmations;
pub(crate) mod confirmed;
pub(crate) mod greeting;
mod kept;
pub(crate) mod leader_watch;
pub(crate) mod link;
pub(crate) mod net;
pub(crate) mod pasts;
pub(crate) mod peers;
mod pipeline;
pub(crate) mod places;
pub(crate) mod plausible;
pub(crate) mod ranges;
pub(crate) mod receive;
pub(crate) mod server;
pub(crate) mod socket;
mod transfer;
pub(crate) mod warm;
