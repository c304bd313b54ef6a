//! The client API: `apache.rocketmq.v2.MessagingService`, one file per RPC, each of them convert, call, convert.
//!
//! Rules that need no state are pure functions ([`send_check`], [`receive_check`], [`names`], [`filter`],
//! [`settings`]): a request becomes a type that obeys them, or a [`Refusal`](refusal::Refusal) with a code. What the
//! leader must do goes to it (`crate::forward`); what is done here goes through `crate::publish` and `crate::consume`.

mod ack;
pub mod addresses;
mod answers;
pub mod caller;
mod change;
mod consume_stream;
mod consumers;
mod dead_letter;
mod delivery;
mod direct;
pub mod filter;
mod groups;
mod leader;
mod leader_news;
mod lost_order;
pub mod names;
mod node;
mod offset;
mod presence;
mod publish;
mod receive;
pub mod receive_check;
mod receive_items;
pub mod refusal;
mod relayed;
mod route;
mod send;
pub mod send_check;
mod service;
pub mod sessions;
pub mod settings;
pub mod stamp;
mod telemetry;
mod unary;

pub use answers::Answers;
pub use consume_stream::{ConsumeServer, Consuming};
pub use direct::DirectCalls;
pub use groups::{automatic_settings, buried};
pub use leader::Leading;
pub use node::{Node, ServiceOptions};
pub use publish::Publishing;
pub use service::Messaging;
