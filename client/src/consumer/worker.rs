//! Who works for one topic of a consumer, and with what. How: [`streams`](super::streams), [`conversation`](super::conversation).

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{buffer::Buffer, dialogue::Dialogue, settling::Order};
use crate::{client::Client, options::ConsumerOptions, transport::Identity};

/// Works until the consumer is closed.
pub(super) struct Worker {
    pub(super) client: Client,
    /// The consumer's, the same in all of its streams.
    pub(super) identity: Identity,
    pub(super) topic: Arc<str>,
    pub(super) group: String,
    pub(super) options: ConsumerOptions,
    /// The number of the topic in the buffer.
    pub(super) source: usize,
    pub(super) buffer: Arc<Buffer>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) dialogue: Dialogue,
}
