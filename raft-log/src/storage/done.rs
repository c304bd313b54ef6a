//! Whom to tell when the log has done something.

use super::error::StorageError;
use std::sync::Arc;

/// Called once, on the I/O thread, in the order of the calls, but that a hard state overtakes purges, releases and repairs.
/// MUST NOT block.
pub type Done = Box<dyn FnOnce(Result<(), Arc<StorageError>>) + Send>;
