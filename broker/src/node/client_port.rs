//! gRPC on the client port.

use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{self, Server},
};

use crate::{limits::HEADERS_BYTES_MAX, listen::ClientStream};

/// Bytes that a client may send ahead on one request, and on one connection.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Requests of one connection at once, parked receives among them.
const STREAMS_MAX: u32 = 8192;
/// Largest HTTP/2 frame; larger than the usual 16 KiB, because bodies are.
const FRAME_BYTES_MAX: u32 = 64 << 10;
/// A client that is silent for this long is asked whether it lives, and dropped if it does not answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The server on the client port.
pub(super) struct ClientPort {
    server: JoinHandle<Result<(), transport::Error>>,
    stop: CancellationToken,
}

impl ClientPort {
    pub(super) fn start(streams: ReceiverStream<std::io::Result<ClientStream>>, routes: Routes) -> ClientPort {
        let stop = CancellationToken::new();
        let server = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(STREAMS_MAX)
            .max_frame_size(FRAME_BYTES_MAX)
            .http2_max_header_list_size(HEADERS_BYTES_MAX)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .add_routes(routes)
            .serve_with_incoming_shutdown(streams, stop.clone().cancelled_owned());
        ClientPort { server: tokio::spawn(server), stop }
    }

    /// Waits for the server to end.
    pub(super) async fn ended(&mut self) -> Result<Result<(), transport::Error>, JoinError> {
        (&mut self.server).await
    }

    /// Accepts nothing more and lets running requests finish, for at most `grace`.
    pub(super) async fn stop(self, grace: Duration) {
        self.stop.cancel();
        let abort = self.server.abort_handle();
        if tokio::time::timeout(grace, self.server).await.is_err() {
            tracing::debug!("requests were still running at the end");
            abort.abort();
        }
    }
}
