//! A node that runs, and what ends it.

use std::sync::Arc;

use raft_log::{Health, Replica, Status};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::readiness::Readiness;
use crate::{
    api::Api,
    listen::GrpcPort,
    nameserver::Registrar,
    process::{Asked, ProcessError, Signals},
};

/// What runs, for as long as it runs.
pub(super) struct Node {
    pub(super) replica: Replica,
    pub(super) api: Api,
    pub(super) readiness: Arc<Readiness>,
    pub(super) http: JoinHandle<()>,
    pub(super) stop_http: CancellationToken,
    pub(super) clients: GrpcPort,
    pub(super) registrar: Registrar,
}

impl Node {
    /// Returns when a signal asks for something; fails when a part does.
    pub(super) async fn until_asked(&mut self, signals: &mut Signals) -> Result<Asked, ProcessError> {
        tokio::select! {
            asked = signals.asked() => Ok(asked),
            reason = failure(self.replica.watch_standing()) => Err(ProcessError::Fatal(reason)),
            outcome = &mut self.http => Err(ProcessError::server("HTTP", &outcome)),
            outcome = self.clients.ended() => Err(ProcessError::server("client gRPC", &outcome)),
        }
    }
}

/// Waits until the replica has failed; says why.
async fn failure(mut status: watch::Receiver<Status>) -> String {
    let failed = status.wait_for(|status| matches!(status.health, Health::Failed { .. })).await;
    match failed.map(|status| status.health.clone()) {
        Ok(Health::Failed { reason }) => reason,
        Ok(other) => unreachable!("waited for a failure, found {other:?}"),
        Err(_) => "the replica ended without saying why".to_owned(),
    }
}
