//! What an open log is to write where it is damaged.

use super::Lost;
use crate::types::LogIndex;

/// A repair on its way to the I/O thread.
pub(crate) struct Refill {
    pub(in crate::storage) base: LogIndex,
    pub(in crate::storage) lost: Lost,
    pub(in crate::storage) bytes: Vec<u8>,
    pub(in crate::storage) epoch: u64,
}
