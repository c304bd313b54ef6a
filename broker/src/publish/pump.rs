//! The task between the lines and the log: makes entries while the pipe has room, and hands out what came of them.

use std::sync::{Arc, atomic::Ordering};

use futures::{StreamExt as _, stream::FuturesUnordered};
use raft_log::{ProposeError, Proposed, types::UnixMillis};
use tokio_util::sync::CancellationToken;

use super::{
    pipe::Pipe,
    proposer::Proposer,
    shared::{Batch, Shared},
    submit_error::SubmitError,
};
use crate::state::{Class, outcomes};

/// Runs until `stop` is cancelled and what is in flight is answered.
pub(super) async fn run(
    shared: Arc<Shared>,
    proposer: impl Proposer,
    stamp: impl Fn() -> UnixMillis + Send + Sync + 'static,
    stop: CancellationToken,
) {
    let (mut in_flight, mut pipe) = (FuturesUnordered::new(), Pipe::default());
    let mut stopping = false;
    loop {
        tokio::select! {
            Some((batch, result)) = in_flight.next(), if !in_flight.is_empty() => {
                let batch: Batch = batch;
                pipe.leave(&batch.held);
                settle(&shared, batch, result);
            }
            () = shared.wake.notified(), if in_flight.len() < shared.options.entries_in_flight_max => {
                // Whoever is ready to run may submit too, and shares the entry.
                tokio::task::yield_now().await;
            }
            () = stop.cancelled(), if !stopping => stopping = true,
        }
        if stopping {
            shared.close();
            if in_flight.is_empty() {
                return;
            }
            continue;
        }
        let full = proposer.is_full();
        shared.full.store(full, Ordering::Relaxed);
        if full {
            // They would be refused with all that shares an entry with them.
            shared.refuse(Class::Publish, &SubmitError::DiskFull);
        }
        while in_flight.len() < shared.options.entries_in_flight_max {
            let Some((builder, batch)) = shared.take(&mut pipe) else { break };
            let messages = builder.messages();
            let payload = builder.build(stamp());
            shared.traffic.batch_proposed(u64::from(messages), payload.len() as u64);
            let proposal = proposer.propose(payload, messages);
            in_flight.push(async move { (batch, proposal.await) });
        }
        for class in Class::ALL {
            shared.traffic.pending_bytes(class.name(), shared.held(class) as u64);
        }
    }
}

/// Hands each command its share of the entry's result.
fn settle(shared: &Shared, batch: Batch, result: Result<Proposed, ProposeError>) {
    for (class, held) in Class::ALL.into_iter().zip(batch.held) {
        shared.release(class, held);
    }
    shared.traffic.batch_answered(batch.since.elapsed());
    let error = match result {
        Ok(proposed) => match outcomes(&proposed.response) {
            Ok(outcomes) if outcomes.len() == batch.replies.len() => {
                for (reply, outcome) in batch.replies.into_iter().zip(outcomes) {
                    // A client that went away does not wait for it.
                    let _ = reply.send(Ok(outcome));
                }
                return;
            }
            Ok(outcomes) => {
                let (have, want) = (outcomes.len(), batch.replies.len());
                SubmitError::Unknown(format!("entry {} has {have} outcomes for {want} commands", proposed.id))
            }
            Err(error) => SubmitError::Unknown(format!("the outcomes of entry {}: {error}", proposed.id)),
        },
        Err(ProposeError::NotLeader { .. }) => SubmitError::NotLeader,
        Err(ProposeError::Overloaded { .. }) => SubmitError::Overloaded,
        Err(ProposeError::DiskFull { .. }) => SubmitError::DiskFull,
        Err(ProposeError::TooLarge { bytes, .. }) => SubmitError::TooLarge { bytes },
        Err(ProposeError::Unknown { reason }) => SubmitError::Unknown(reason),
    };
    for reply in batch.replies {
        let _ = reply.send(Err(error.clone()));
    }
}
