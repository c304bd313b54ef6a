//! The HTTP port: health and metrics, for people, probes and Prometheus.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process lives |
//! | `/readyz` | 200 if it can do its work, else 503 and why not, in words |
//! | `/metrics` | OpenMetrics text |

use std::{future::Future, io, sync::Arc};

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use crate::metrics::Exposition;

/// Says whether the process can do its work, and if not, why.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Serves until `stop` completes.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    exposition: Arc<Exposition>,
    ready: Readiness,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(exposition, ready)).with_graceful_shutdown(stop).await
}

fn router(exposition: Arc<Exposition>, ready: Readiness) -> Router {
    let readyz = move || {
        let answer = match ready() {
            Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        };
        async move { answer }
    };
    let metrics = move || {
        let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
        let answer = (kind, exposition.render()).into_response();
        async move { answer }
    };
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::metrics::{NodeLabels, Traffic};

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn health_readiness_and_metrics_are_served() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let labels = NodeLabels { cluster: "broker-1".into(), node_type: "broker", node_id: "1".into() };
        let exposition = Arc::new(Exposition::new(&labels, |registry| Traffic::default().register(registry)));
        let leader = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&leader);
        let ready: Readiness =
            Arc::new(move || if seen.load(Ordering::SeqCst) { Ok(()) } else { Err("no leader".to_owned()) });
        let server = tokio::spawn(serve(listener, exposition, ready, std::future::pending()));

        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("no leader\n"), "{answer}");
        leader.store(true, Ordering::SeqCst);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        let answer = get(address, "/metrics").await;
        assert!(answer.contains("tercet_pending_bytes") && answer.ends_with("# EOF\n"), "{answer}");
        assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));
        server.abort();
    }
}
