//! `tercetd nameserver`: one process.

use std::{sync::Arc, time::Duration};

use raft_log::env::Env;
use tercet_output::Lines;
use tercet_proto::nameserver::v1::name_server_server::NameServerServer;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes as Services;

use super::{Routes, service::NameService};
use crate::{
    config::Config,
    http::{self, Pages},
    listen::{self, GrpcPort, PortOptions},
    metrics::{Exposition, LostLinesCollector, NodeLabels, Ports},
    process::{ProcessError, Signals},
};

/// Largest heartbeat: some hundred thousand topics.
const REQUEST_BYTES_MAX: usize = 64 << 20;
/// Connections of brokers and clients.
const CONNECTIONS_MAX: usize = 10_000;
/// Connections of probes and scrapes.
const HTTP_CONNECTIONS_MAX: usize = 64;
/// How often silent brokers are forgotten.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// A port cannot be taken, or a server failed.
pub async fn run(config: Config, lines: Lines) -> Result<(), ProcessError> {
    let mut signals = Signals::catch()?;
    let settings = &config.nameserver;
    let grpc_port = listen::bind("nameserver.listen", settings.listen)?;
    let http_port = listen::bind("nameserver.http", settings.http)?;
    let service =
        NameService::new(Routes::new(settings.silent_max, settings.brokers_max), Arc::clone(&Env::real().clock));
    let stop = CancellationToken::new();
    let ports = Ports::default();
    let counters = ports.clone();

    let labels =
        NodeLabels { cluster: "nameserver".to_owned(), node_type: "nameserver", node_id: settings.listen.to_string() };
    let exposition = Arc::new(Exposition::new(&labels, |registry| {
        service.register_metrics(registry);
        counters.register(registry);
        registry.register_collector(Box::new(LostLinesCollector::new(lines)));
    }));
    let pages = Pages { exposition, alive: Arc::new(|| Ok(())), ready: Arc::new(|| Ok(())) };
    let mut http = tokio::spawn(http::serve(http_port, pages, &ports, HTTP_CONNECTIONS_MAX, stop.clone()));
    let options = PortOptions { name: "nameserver", tls: None, connections_max: CONNECTIONS_MAX, ports };
    let services = NameServerServer::new(service.clone()).max_decoding_message_size(REQUEST_BYTES_MAX);
    let mut grpc = GrpcPort::start(grpc_port, options, Services::new(services));
    let expire = async {
        loop {
            sleep(EXPIRE_INTERVAL).await;
            service.expire();
        }
    };

    tracing::info!(listen = %settings.listen, http = %settings.http, "the nameserver is up");
    tokio::select! {
        signal = signals.stop() => tracing::info!(signal, "stopping"),
        outcome = &mut http => return Err(ProcessError::server("HTTP", &outcome)),
        outcome = grpc.ended() => return Err(ProcessError::server("gRPC", &outcome)),
        () = expire => unreachable!("it loops for ever"),
    }
    stop.cancel();
    // Brokers keep their connections open: a moment to finish what runs, then the end.
    let grace = config.shutdown.deadline.min(Duration::from_secs(1));
    tokio::select! {
        () = async { grpc.stop(grace).await; drop(http.await) } => {}
        _ = signals.stop() => tracing::warn!("asked a second time: stopping at once"),
    }
    Ok(())
}
