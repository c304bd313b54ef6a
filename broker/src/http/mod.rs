//! The HTTP port: health and metrics, for people, probes and Prometheus.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process does what it is there for or can come to do it, else 503 and why not |
//! | `/readyz` | 200 if it can do its work now, else 503 and why not, in words |
//! | `/metrics` | OpenMetrics text |
//!
//! One request a connection, and a deadline for it: this port must answer when everything else is wrong, and strangers who
//! connect and say nothing must not keep probes out.

mod serve;

use std::sync::Arc;

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};

pub use serve::serve;

use crate::metrics::Exposition;

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Says whether something is as it should be, and if not, why.
pub type Probe = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What is served.
#[derive(Clone)]
pub struct Pages {
    /// For `/metrics`.
    pub exposition: Arc<Exposition>,
    /// For `/healthz`.
    pub alive: Probe,
    /// For `/readyz`.
    pub ready: Probe,
}

fn router(pages: Pages) -> Router {
    let Pages { exposition, alive, ready } = pages;
    let metrics = move || {
        let exposition = Arc::clone(&exposition);
        async move {
            // Some of it is read from disk.
            match tokio::task::spawn_blocking(move || exposition.render()).await {
                Ok(text) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
    };
    Router::new()
        .route("/healthz", get(move || probed(&alive, "alive\n")))
        .route("/readyz", get(move || probed(&ready, "ready\n")))
        .route("/metrics", get(metrics))
}

fn probed(probe: &Probe, good: &str) -> std::future::Ready<(StatusCode, String)> {
    std::future::ready(match probe() {
        Ok(()) => (StatusCode::OK, good.to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    })
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        task::JoinHandle,
    };
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::metrics::{NodeLabels, Ports, Traffic};

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    const CONNECTIONS_MAX: usize = 8;

    struct Running {
        address: std::net::SocketAddr,
        task: JoinHandle<()>,
        stop: CancellationToken,
        leader: Arc<AtomicBool>,
        ports: Ports,
    }

    async fn start() -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let labels = NodeLabels { cluster: "broker-1".into(), node_type: "broker", node_id: "1".into() };
        let exposition = Arc::new(Exposition::new(&labels, |registry| Traffic::default().register(registry)));
        let leader = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&leader);
        let ready: Probe =
            Arc::new(move || if seen.load(Ordering::SeqCst) { Ok(()) } else { Err("no leader".to_owned()) });
        let (stop, ports) = (CancellationToken::new(), Ports::default());
        let pages = Pages { exposition, alive: Arc::new(|| Ok(())), ready };
        let task = tokio::spawn(serve(listener, pages, &ports, CONNECTIONS_MAX, stop.clone()));
        Running { address, task, stop, leader, ports }
    }

    #[tokio::test]
    async fn health_readiness_and_metrics_are_served() {
        let Running { address, task, stop, leader, .. } = start().await;
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("no leader\n"), "{answer}");
        leader.store(true, Ordering::SeqCst);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        let answer = get(address, "/metrics").await;
        assert!(answer.contains("tercet_parked_receives") && answer.ends_with("# EOF\n"), "{answer}");
        assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(60), task).await.expect("it ends").unwrap();
    }

    #[tokio::test]
    async fn those_who_connect_and_say_nothing_do_not_keep_a_probe_out() {
        let running = start().await;
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX + 10 {
            silent.push(TcpStream::connect(running.address).await.unwrap());
        }
        assert!(get(running.address, "/healthz").await.starts_with("HTTP/1.1 200"));
        // The oldest made way.
        let mut bytes = [0; 1];
        assert!(!matches!(silent[0].read(&mut bytes).await, Ok(1..)));
        assert!(running.ports.open("http").get() <= i64::try_from(CONNECTIONS_MAX).unwrap());
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_waited_for_only_so_long() {
        let running = start().await;
        let mut slow = TcpStream::connect(running.address).await.unwrap();
        slow.write_all(b"GET /healthz HTTP/1.1\r\nHost:").await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(60), slow.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "the connection is still open");
    }
}
