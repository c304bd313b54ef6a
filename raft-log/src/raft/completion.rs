//! Waiting for what the log's I/O thread was asked for.

use std::io;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::storage::{Done, StorageError};

/// Completes `done` with the result of a storage call.
pub(crate) fn completion() -> (Done, oneshot::Receiver<io::Result<()>>) {
    let (sender, receiver) = oneshot::channel();
    let done = move |result: Result<(), Arc<StorageError>>| {
        // openraft drops the call when it stops; nobody waits then.
        drop(sender.send(result.map_err(io::Error::other)));
    };
    (Box::new(done), receiver)
}

pub(crate) async fn completed(receiver: oneshot::Receiver<io::Result<()>>) -> io::Result<()> {
    receiver.await.map_err(|_| io::Error::other("the log's I/O thread stopped"))?
}
