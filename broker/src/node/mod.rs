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
mod descriptors;
mod open;
mod readiness;
mod running;
mod stop;
mod too_few_descriptors;

pub use too_few_descriptors::TooFewDescriptors;

use std::sync::Arc;

use raft_log::{Replica, env::Env};
use tercet_output::Lines;
use tokio_util::sync::CancellationToken;

use self::{descriptors::Descriptors, open::Opened, readiness::Readiness, running::Node};
use crate::{
    api::Api,
    config::Config,
    http::{self, Pages},
    listen::{self, Certificates, GrpcPort, PortOptions},
    metrics::{
        BacklogCollector, BacklogSources, Exposition, LostLinesCollector, NodeLabels, Ports, ReplicaCollector,
        ReserveCollector, RetentionCollector, TlsCounters, Traffic,
    },
    nameserver::Registrar,
    process::{Asked, ProcessError, Signals},
    state::StateReader,
};

/// Serves until SIGTERM or SIGINT, or until the node can no longer keep its promises.
///
/// # Errors
/// See [`ProcessError`]. Nothing in the data folder is changed if it belongs to another node, group or format.
pub async fn run(config: Config, lines: Lines) -> Result<(), ProcessError> {
    let mut signals = Signals::catch()?;
    let descriptors = Descriptors::obtain(config.limits.connections_max)?;
    // All ports first: a node that cannot be reached must not open its log.
    let client_port = listen::bind("listen.client", config.listen.client)?;
    let http_port = listen::bind("listen.http", config.listen.http)?;
    let peer_port = listen::bind_std("listen.peer", config.listen.peer)?;
    let tls_counters = TlsCounters::default();
    let certificates = Certificates::open(config.tls.as_ref(), config.advertise.client.host(), tls_counters.clone())?;

    let env = Env::real_within(count(descriptors.log_files()));
    let (traffic, ports) = (Traffic::default(), Ports::default());
    let Opened { replica, state } = tokio::select! {
        opened = open::open(&config, env.clone(), peer_port) => opened?,
        signal = signals.stop() => {
            // As after a kill: whatever was begun is taken up again at the next start.
            tracing::info!(signal, "stopped while it was opening its data folder");
            return Ok(());
        }
    };
    let api = Api::start(open::service_options(&config, traffic.clone()), replica.clone(), state.clone(), &env);

    let readiness = Arc::new(Readiness::new(replica.watch(), state.clone()));
    let stop_http = CancellationToken::new();
    let counters = Counters { traffic: traffic.clone(), ports: ports.clone(), tls: tls_counters, lines };
    let pages = Pages {
        exposition: exposition(&config, counters, &replica, state.clone(), &env),
        alive: readiness.clone().life(),
        ready: readiness.clone().probe(),
    };
    let http = tokio::spawn(http::serve(http_port, pages, &ports, count(descriptors.http), stop_http.clone()));
    let options = PortOptions {
        name: "client",
        tls: Some(certificates.subscribe()),
        connections_max: count(descriptors.clients),
        ports: ports.clone(),
    };
    let clients = GrpcPort::start(client_port, options, api.services());
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

    let watching = tokio::spawn(certificates.clone().watch());
    let mut node = Node { replica, api, readiness, http, stop_http, clients, registrar };
    loop {
        match node.until_asked(&mut signals).await? {
            Asked::Reload => reload(&certificates),
            Asked::Stop(signal) => {
                tracing::info!(signal, "stopping");
                break;
            }
        }
    }
    watching.abort();
    stop::stop(node, config.shutdown.deadline, &mut signals).await;
    Ok(())
}

fn count(descriptors: u64) -> usize {
    usize::try_from(descriptors).expect("usize has 64 bits")
}

/// What can be read again while the node runs: the certificate, which expires. Connections that are open keep theirs.
fn reload(certificates: &Certificates) {
    match certificates.reload() {
        Ok(()) => tracing::info!("SIGHUP: the certificate is read again; all other settings need a restart"),
        Err(error) => tracing::error!(%error, "SIGHUP: going on with the certificate as it was"),
    }
}

/// What the parts of this node count.
struct Counters {
    traffic: Traffic,
    ports: Ports,
    tls: TlsCounters,
    lines: Lines,
}

fn exposition(
    config: &Config,
    counters: Counters,
    replica: &Replica,
    state: StateReader,
    env: &Env,
) -> Arc<Exposition> {
    let labels = NodeLabels {
        cluster: format!("broker-{}", config.node.group),
        node_type: "broker",
        node_id: config.node.id.to_string(),
    };
    let stats = replica.clone();
    let collector = ReplicaCollector::new(replica.watch(), Box::new(move || stats.storage_stats()));
    let (leads, stamps, clock) = (replica.watch_standing(), replica.clone(), state.clone());
    let sources = BacklogSources {
        serving: Box::new(move || leads.borrow().serving),
        now: Box::new(move || stamps.stamp(clock.clock())),
        clock: Arc::clone(&env.clock),
    };
    let backlogs = BacklogCollector::new(state.clone(), sources, config.metrics.backlogs_max);
    let reserve = ReserveCollector::new(replica.clone(), state.clone());
    Arc::new(Exposition::new(&labels, |registry| {
        counters.traffic.register(registry);
        counters.ports.register(registry);
        counters.tls.register(registry);
        registry.register_collector(Box::new(collector));
        let help = "Seconds that the state took to apply some entries, while nobody could read it";
        registry.register("tercet_apply_seconds", help, state.apply_seconds());
        registry.register_collector(Box::new(RetentionCollector::new(state)));
        registry.register_collector(Box::new(backlogs));
        registry.register_collector(Box::new(reserve));
        registry.register_collector(Box::new(LostLinesCollector::new(counters.lines)));
    }))
}
