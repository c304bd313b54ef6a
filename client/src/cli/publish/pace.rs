//! How feeder and recorder hold each other back.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// See the module.
#[derive(Clone)]
pub(super) struct Pace {
    /// For messages in flight.
    pub(super) room: Arc<Semaphore>,
    /// Nothing more is to be sent: no line can succeed, or what succeeds cannot be recorded, or the user wants an end.
    pub(super) enough: CancellationToken,
}
