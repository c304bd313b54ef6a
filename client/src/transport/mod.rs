//! Connections to nodes and what each request carries beside its body.
//!
//! One connection per node is kept and shared by all requests, and a second one by all that is published: a node that has too
//! much to store reads those streams no further, which must hold up nothing else. A connection that failed is dropped at once,
//! so that the next request makes a new one (and resolves the name again).

mod connections;
mod consume_stream;
mod dial;
mod ending;
mod gather;
mod leader_stream;
mod link;
mod metadata;
mod publish_stream;
mod raw;
mod tls;

pub(crate) use connections::{AttemptError, Connections};
pub(crate) use consume_stream::{Begun, ConsumeStream, open as open_consume_stream};
pub(crate) use leader_stream::open as open_leader_stream;
pub(crate) use link::Link;
pub(crate) use metadata::{Identity, SendHeaders};
pub(crate) use raw::SendAnswer;
pub(crate) use tls::Tls;
