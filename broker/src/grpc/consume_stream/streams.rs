//! What all consume streams of a node share.

use tokio::sync::Semaphore;

use super::references::References;
use crate::{limits::STREAM_SETTLING_MESSAGES_MAX, metrics::Traffic};

/// What all streams of a node share.
#[derive(Debug)]
pub struct Streams {
    pub(super) references: References,
    /// Messages of which may be written at once what became of them.
    pub(super) settling: Semaphore,
}

impl Streams {
    /// Counted there.
    pub(in crate::grpc) fn new(traffic: &Traffic) -> Streams {
        let references = References::new(traffic.unconfirmed_deliveries().clone());
        Streams { references, settling: Semaphore::new(STREAM_SETTLING_MESSAGES_MAX) }
    }
}
