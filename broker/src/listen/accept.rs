//! The accept loop of the client port.

use std::{io, sync::Arc, time::Duration};

use prometheus_client::metrics::gauge::Gauge;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

use super::stream::{ClientStream, Place};

/// The first byte of a TLS connection: the record type "handshake".
const TLS_HANDSHAKE: u8 = 0x16;
/// A client that says nothing for this long after it connected is dropped.
const HELLO_MAX: Duration = Duration::from_secs(10);
/// After this much silence the system asks whether the client is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
/// Wait after an accept that failed for want of memory or descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// Connections that are ready and wait for the server.
const READY_MAX: usize = 64;

/// What the accept loop works with.
#[derive(Clone)]
pub struct AcceptOptions {
    /// For connections that start with TLS.
    pub tls: TlsAcceptor,
    /// Open connections; further clients wait to be accepted.
    pub connections_max: usize,
    /// Counts the open connections.
    pub open: Gauge,
}

/// Accepts until the returned stream is dropped.
pub fn accept(listener: TcpListener, options: AcceptOptions) -> ReceiverStream<io::Result<ClientStream>> {
    let (ready, stream) = mpsc::channel(READY_MAX);
    tokio::spawn(run(listener, options, ready));
    ReceiverStream::new(stream)
}

async fn run(listener: TcpListener, options: AcceptOptions, ready: mpsc::Sender<io::Result<ClientStream>>) {
    let places = Arc::new(Semaphore::new(options.connections_max));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let place = Place::take(place, &options.open);
                tokio::spawn(greet(stream, place, options.tls.clone(), ready.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on the client port");
                sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Finds out what the client speaks and hands the connection on; a client that speaks neither is dropped.
async fn greet(stream: TcpStream, place: Place, tls: TlsAcceptor, ready: mpsc::Sender<io::Result<ClientStream>>) {
    let peer = stream.peer_addr();
    match timeout(HELLO_MAX, shake_hands(stream, place, &tls)).await {
        // A closed channel means that the server stopped; the connection is dropped with it.
        Ok(Ok(stream)) => drop(ready.send(Ok(stream)).await),
        Ok(Err(error)) => tracing::debug!(?peer, %error, "a client connected and did not get through its greeting"),
        Err(_) => tracing::debug!(?peer, "a client connected and stayed silent"),
    }
}

async fn shake_hands(stream: TcpStream, place: Place, tls: &TlsAcceptor) -> io::Result<ClientStream> {
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER))?;
    let mut first = [0_u8; 1];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if first[0] == TLS_HANDSHAKE {
        Ok(ClientStream::tls(tls.accept(stream).await?, place))
    } else {
        Ok(ClientStream::plain(stream, place))
    }
}
