//! `tercetd nameserver`: one process.

use std::{sync::Arc, time::Duration};

use raft_log::env::Env;
use tercet_proto::nameserver::v1::name_server_server::NameServerServer;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::TcpIncoming};

use super::{Routes, service::NameService};
use crate::{
    config::Config,
    http, listen,
    metrics::{Exposition, NodeLabels},
    process::{ProcessError, stop_signal},
};

/// Largest heartbeat: some hundred thousand topics.
const REQUEST_BYTES_MAX: usize = 64 << 20;
/// How often silent brokers are forgotten.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// A port cannot be taken, or a server failed.
pub async fn run(config: &Config) -> Result<(), ProcessError> {
    let settings = &config.nameserver;
    let grpc_port = listen::bind("nameserver.listen", settings.listen)?;
    let http_port = listen::bind("nameserver.http", settings.http)?;
    let service =
        NameService::new(Routes::new(settings.silent_max, settings.brokers_max), Arc::clone(&Env::real().clock));
    let stop = CancellationToken::new();

    let labels =
        NodeLabels { cluster: "nameserver".to_owned(), node_type: "nameserver", node_id: settings.listen.to_string() };
    let exposition = Arc::new(Exposition::new(&labels, |registry| service.register_metrics(registry)));
    let http = http::serve(http_port, exposition, Arc::new(|| Ok(())), stop.clone().cancelled_owned());
    let grpc = Server::builder()
        .add_service(NameServerServer::new(service.clone()).max_decoding_message_size(REQUEST_BYTES_MAX))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(grpc_port).with_nodelay(Some(true)),
            stop.clone().cancelled_owned(),
        );
    let (mut http, mut grpc) = (tokio::spawn(http), tokio::spawn(grpc));
    let expire = async {
        loop {
            sleep(EXPIRE_INTERVAL).await;
            service.expire();
        }
    };

    tracing::info!(listen = %settings.listen, http = %settings.http, "the nameserver is up");
    tokio::select! {
        signal = stop_signal() => tracing::info!(signal = signal?, "stopping"),
        outcome = &mut http => return Err(ProcessError::server("HTTP", outcome)),
        outcome = &mut grpc => return Err(ProcessError::server("gRPC", outcome)),
        () = expire => unreachable!("it loops for ever"),
    }
    stop.cancel();
    // Brokers keep their connections open: a moment to finish what runs, then the end.
    let finished = async { (http.await, grpc.await) };
    if timeout(config.shutdown.deadline.min(Duration::from_secs(1)), finished).await.is_err() {
        tracing::debug!("connections were still open at the end");
    }
    Ok(())
}
