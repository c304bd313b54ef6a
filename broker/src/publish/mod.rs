//! Leader side of every replicated command: batching, queue choice, outcomes.
//!
//! ```text
//!  RPCs ─► Batcher: what waits becomes one entry, ─► Replica::propose ─► apply ─► outcomes back to each RPC
//!          with a share for each class               few in flight
//!          full: that class is refused at once; publish streams are read no further before it is
//! ```

mod batcher;
mod draft;
mod encode;
mod lines;
mod meta;
mod options;
mod pipe;
mod proposer;
mod pump;
mod queue_choice;
mod shared;
mod stream_room;
mod submit_error;

pub use batcher::Batcher;
pub use draft::{Draft, DraftKind, DraftMessage};
pub use encode::publish_command;
pub use meta::MessageMeta;
pub use options::BatcherOptions;
pub use proposer::Proposer;
pub use queue_choice::{RoundRobin, by_group};
pub use stream_room::{StreamRoom, TakenRoom};
pub use submit_error::SubmitError;
