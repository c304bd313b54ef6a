//! HTTP/2 on one connection, from its greeting to its end; every connection has one, whatever the other side does or omits
//! (hazards 39).

use std::{sync::Arc, time::Duration};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{load::Load, requests::Requests, stream::ClientStream};
use crate::{
    limits::{HEADERS_BYTES_MAX, REQUESTS_PER_CONNECTION_MAX, WINDOWS_BYTES_MAX},
    metrics::Closed,
};

/// Bytes that a client may send ahead on one request, and on one connection, while few are connected.
const STREAM_WINDOW_MAX: usize = 4 << 20;
const CONNECTION_WINDOW_MAX: usize = 16 << 20;
/// The same while many are; HTTP/2's own default.
const WINDOW_MIN: usize = 64 << 10;
/// Largest HTTP/2 frame; larger than the usual 16 KiB, because bodies are.
const FRAME_BYTES_MAX: u32 = 64 << 10;
/// A client that is silent for this long is asked whether it lives, and dropped if it does not answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection on which nothing was ever asked is closed after this time.
const FIRST_REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// And one on which nothing has been asked for this long.
const IDLE_MAX: Duration = Duration::from_secs(15 * 60);
/// How often is looked.
const LOOK: Duration = Duration::from_secs(5);
/// An idle connection that was asked to close, and does not, is cut off.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// HTTP/2 for a connection beside so many others.
fn http2(connections: usize) -> http2::Builder<TokioExecutor> {
    let connection = (WINDOWS_BYTES_MAX / connections.max(1)).clamp(WINDOW_MIN, CONNECTION_WINDOW_MAX);
    let stream = connection.min(STREAM_WINDOW_MAX);
    let window = |bytes: usize| u32::try_from(bytes).expect("a few megabytes");
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(window(stream))
        .initial_connection_window_size(window(connection))
        .max_concurrent_streams(REQUESTS_PER_CONNECTION_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        // gRPC knows no date.
        .auto_date_header(false)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        // What arrives late on requests that were refused is no attack.
        .max_local_error_reset_streams(None);
    builder
}

/// Serves until the client goes, `stop` has let its requests finish, or `end` ends all. Says why this side closed it, if it
/// did.
pub(super) async fn serve(
    stream: ClientStream,
    requests: Requests,
    stop: CancellationToken,
    end: CancellationToken,
) -> Option<Closed> {
    let load = Arc::clone(stream.place().load());
    let connection = http2(stream.place().taken()).serve_connection(TokioIo::new(stream), requests);
    let mut connection = std::pin::pin!(connection);
    let why = tokio::select! {
        outcome = &mut connection => {
            if let Err(error) = outcome {
                tracing::debug!(%error, "a connection broke");
            }
            return None;
        }
        why = load.cut_off() => return why,
        () = end.cancelled() => return None,
        why = not_worth_its_place(&load) => Some(why),
        () = stop.cancelled() => None,
    };
    if why == Some(Closed::Unread) {
        return why;
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = &mut connection => {}
        _ = load.cut_off() => {}
        () = end.cancelled() => {}
        () = sleep(FAREWELL_MAX), if why.is_some() => {}
    }
    why
}

/// Returns when the connection has had nothing to do for long, or does not read its answers.
async fn not_worth_its_place(load: &Load) -> Closed {
    loop {
        match load.idle() {
            Some((idle, false)) if idle >= FIRST_REQUEST_WITHIN => return Closed::Silent,
            Some((idle, true)) if idle >= IDLE_MAX => return Closed::Idle,
            None if load.is_unread() => return Closed::Unread,
            _ => sleep(LOOK).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_for_nothing_is_idle_in_the_end_and_one_that_works_never() {
        let load = Arc::new(Load::new());
        assert_eq!(not_worth_its_place(&load).await, Closed::Silent);
        let began = tokio::time::Instant::now();
        let request = load.open_request(Duration::from_secs(1));
        let waited = tokio::time::timeout(Duration::from_secs(24 * 3600), not_worth_its_place(&load)).await;
        assert!(waited.is_err(), "a request is open");
        drop(request);
        assert_eq!(not_worth_its_place(&load).await, Closed::Idle);
        assert!(began.elapsed() >= Duration::from_secs(24 * 3600) + IDLE_MAX);
    }
}
