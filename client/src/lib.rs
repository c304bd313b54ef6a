//! The Rust client of Tercet, a message broker that does not lose messages.
//!
#![doc = "```no_run"]
#![doc = include_str!("../examples/quick_start.rs")]
#![doc = "```"]
//! - [`Client`]: connections and routes. One per process is enough; clones share everything.
//! - [`Producer`]: publishes. Concurrent sends travel together; a retry carries the same ids and sequence numbers,
//!   so it stores nothing twice; each message ends with one of three [`Outcome`]s.
//! - [`Consumer`]: gets what the broker pushes, calls handlers or hands it out, acknowledges, renews, gives back. It follows the
//!   leader, and sends again what was not answered.
//! - [`Admin`]: makes and lists topics and consumer groups, shows the state of the nodes.
//!
//! The [`guide`] says how they behave: outcomes, order, back-pressure, cancellation, shutdown.
//!
//! What it is not: a client of other brokers (it relies on Tercet's idempotence). The official RocketMQ 5 clients work with
//! Tercet too. Everything needs a tokio runtime with time and I/O enabled.

mod admin;
mod asking;
mod backoff;
mod broker_group;
mod client;
mod code;
mod consumer;
mod endpoint;
mod env;
mod error;
mod leader_watch;
mod message;
mod message_id;
mod options;
mod outcome;
mod producer;
mod route;
mod rpc_code;
mod telemetry;
mod transport;
mod vigil;
mod watching;

pub use admin::{
    Admin, ClusterStatus, ConsumerGroup, DeletedGroup, GroupChange, GroupConsumer, GroupDescription, GroupSettings,
    Leader, Member, Node, NodeAddresses, NodeRole, QueueBounds, QueueProgress, RaisedLevel, Start, Topic,
    TopicDescription, TopicType,
};
pub use broker_group::BrokerGroup;
pub use client::Client;
pub use code::Code;
pub use consumer::{Consumer, ForEach, Handled, ReceivedMessage};
pub use endpoint::{ENDPOINTS_MAX, Endpoint, EndpointError};
pub use error::Error;
pub use message::{
    BODY_BYTES_MAX, GROUP_CHARS_MAX, MESSAGE_GROUP_BYTES_LIMIT, Message, MessageBuilder, MessageError,
    PROPERTIES_BYTES_MAX, PROPERTIES_MAX, RESERVED_PROPERTIES, TOPIC_CHARS_MAX, check_group, check_topic,
};
pub use message_id::{MessageId, MessageIdError};
pub use options::{ClientOptions, ConsumerOptions, Credentials, ProducerOptions, TlsOptions};
pub use outcome::{Outcome, Refused, RefusedReason, SendError, Stored, Unknown};
pub use producer::{Pending, Producer, TrySendError};
pub use rpc_code::RpcCode;

#[doc = include_str!("guide.md")]
pub mod guide {}
