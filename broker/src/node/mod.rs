//! `tercetd broker`: puts one node together, runs it, and takes it apart in order.
//!
//! ```text
//!   settings, Env ─► ports ─► State ─► Replica ─► Api ─────► client port (gRPC)
//!                                        │           └─────► counters ─┐
//!                                        └─► status ─► readiness, metrics ─► HTTP port
//!                                                └───► heartbeats to nameservers
//! ```
//!
//! The only place that knows all parts. It decides nothing about messages or the log; it only says who gets what, what
//! happens when a part fails, and in which order all of it stops.

mod announce;
mod client_port;
mod open;
mod readiness;
mod stop;

use std::sync::Arc;

use raft_log::{Health, Replica, Status, env::Env};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::{client_port::ClientPort, open::Opened, readiness::Readiness};
use crate::{
    api::Api,
    config::Config,
    http,
    listen::{self, AcceptOptions},
    metrics::{Exposition, NodeLabels, ReplicaCollector, RetentionCollector, Traffic},
    nameserver::Registrar,
    process::{ProcessError, stop_signal},
    state::StateReader,
};

/// Serves until SIGTERM or SIGINT, or until the node can no longer keep its promises.
///
/// # Errors
/// See [`ProcessError`]. Nothing in the data folder is changed if it belongs to another node, group or format.
pub async fn run(config: Config) -> Result<(), ProcessError> {
    // All ports first: a node that cannot be reached must not open its log.
    let client_port = listen::bind("listen.client", config.listen.client)?;
    let http_port = listen::bind("listen.http", config.listen.http)?;
    let peer_port = listen::bind_std("listen.peer", config.listen.peer)?;
    let tls = listen::acceptor(config.tls.as_ref(), config.advertise.client.host())?;

    let env = Env::real();
    let traffic = Traffic::default();
    let Opened { replica, state } = open::open(&config, env.clone(), peer_port).await?;
    let api = Api::start(open::service_options(&config, traffic.clone()), replica.clone(), state.clone(), &env);

    let readiness = Arc::new(Readiness::new(replica.watch(), state.clone()));
    let stop_http = CancellationToken::new();
    let http = tokio::spawn(http::serve(
        http_port,
        exposition(&config, &traffic, &replica, state.clone()),
        readiness.clone().probe(),
        stop_http.clone().cancelled_owned(),
    ));
    let accept =
        AcceptOptions { tls, connections_max: config.limits.connections_max, open: traffic.connections().clone() };
    let clients = ClientPort::start(listen::accept(client_port, accept), api.routes());
    let (announcement, changed) = announce::announcement(&config, replica.watch_standing(), state);
    let registrar = Registrar::start(&config.discovery, announcement, changed);
    tracing::info!(
        node = %config.node.id,
        group = %config.node.group,
        client = %config.listen.client,
        peer = %config.listen.peer,
        http = %config.listen.http,
        data = %config.node.data_dir.display(),
        "the node is up"
    );

    let mut node = Node { replica, api, readiness, http, stop_http, clients, registrar };
    node.until_stopped().await?;
    stop::stop(node, config.shutdown.deadline).await;
    Ok(())
}

/// What runs, for as long as it runs.
struct Node {
    replica: Replica,
    api: Api,
    readiness: Arc<Readiness>,
    http: JoinHandle<std::io::Result<()>>,
    stop_http: CancellationToken,
    clients: ClientPort,
    registrar: Registrar,
}

impl Node {
    /// Returns when a signal asks for it; fails when a part does.
    async fn until_stopped(&mut self) -> Result<(), ProcessError> {
        tokio::select! {
            signal = stop_signal() => tracing::info!(signal = signal?, "stopping"),
            reason = failure(self.replica.watch_standing()) => return Err(ProcessError::Fatal(reason)),
            outcome = &mut self.http => return Err(ProcessError::server("HTTP", outcome)),
            outcome = self.clients.ended() => return Err(ProcessError::server("client gRPC", outcome)),
        }
        Ok(())
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

fn exposition(config: &Config, traffic: &Traffic, replica: &Replica, state: StateReader) -> Arc<Exposition> {
    let labels = NodeLabels {
        cluster: format!("broker-{}", config.node.group),
        node_type: "broker",
        node_id: config.node.id.to_string(),
    };
    let stats = replica.clone();
    let collector = ReplicaCollector::new(replica.watch(), Box::new(move || stats.storage_stats()));
    Arc::new(Exposition::new(&labels, |registry| {
        traffic.register(registry);
        registry.register_collector(Box::new(collector));
        registry.register_collector(Box::new(RetentionCollector::new(state)));
    }))
}
