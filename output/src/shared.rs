//! What those who write lines and the thread that writes them out share.

use std::sync::atomic::AtomicU64;

use crate::queue::Queue;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    pub(crate) full: AtomicU64,
    pub(crate) failed: AtomicU64,
}
