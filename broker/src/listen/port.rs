//! A port that serves gRPC: accepts, greets, serves, and is taken apart.
//!
//! ```text
//!   accept ─► place? ─► greeting (TLS or not) ─► HTTP/2 ─► requests
//!               └ no: closed at once; the client goes to another node
//! ```

use std::{io, sync::Arc, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinError, JoinHandle},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

use super::{
    places::{Place, Places},
    requests::{Direct, Requests, Shared},
    serve::serve,
    stream::ClientStream,
    unfinished::Budget,
};
use crate::metrics::{Closed, Ports};

/// The first byte of a TLS connection: the record type "handshake".
const TLS_HANDSHAKE: u8 = 0x16;
/// A client that says nothing for this long after it connected is dropped, and one whose TLS handshake takes longer.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// After this much silence the system asks whether the other side is still there, and how often until it gives up.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 2;
/// What was sent and is not confirmed for this long, or not taken, ends the connection.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(20);
/// Wait after an accept that failed for want of memory or descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// Failures to accept are logged at most this often.
const ACCEPT_COMPLAINTS: Duration = Duration::from_secs(10);

/// What a port works with.
#[derive(Clone)]
pub struct PortOptions {
    /// Its name in metrics and logs.
    pub name: &'static str,
    /// For connections that start with TLS; the newest counts. Without it they are not taken.
    pub tls: Option<watch::Receiver<TlsAcceptor>>,
    /// Open connections; further ones are closed at once, or take the place of one that does nothing.
    pub connections_max: usize,
    /// Counters.
    pub ports: Ports,
}

/// What a port serves.
pub struct Services {
    routes: Routes,
    direct: Option<Arc<dyn Direct>>,
}

impl From<Routes> for Services {
    fn from(routes: Routes) -> Services {
        Services { routes, direct: None }
    }
}

impl Services {
    /// The same, with a shorter way to some of it.
    #[must_use]
    pub(crate) fn with_direct(self, direct: impl Direct) -> Services {
        Services { direct: Some(Arc::new(direct)), ..self }
    }
}

/// A port that serves.
#[derive(Debug)]
pub struct GrpcPort {
    accepting: JoinHandle<()>,
    connections: TaskTracker,
    stop: CancellationToken,
    end: CancellationToken,
}

impl GrpcPort {
    /// Serves these services on the current runtime.
    #[must_use]
    pub fn start(listener: TcpListener, options: PortOptions, services: impl Into<Services>) -> GrpcPort {
        let Services { routes, direct } = services.into();
        let (stop, end, connections) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let budget = Budget::new(options.ports.clone());
        let accepting = Accepting {
            listener,
            places: Places::new(options.connections_max, options.ports.open(options.name)),
            shared: Shared { routes: routes.prepare(), direct, budget },
            options,
            connections: connections.clone(),
            stop: stop.clone(),
            end: end.clone(),
        };
        let stopped = stop.clone();
        let accepting = tokio::spawn(async move {
            stopped.run_until_cancelled(accepting.run()).await;
        });
        GrpcPort { accepting, connections, stop, end }
    }

    /// Waits until it accepts nothing any more, which it never does by itself.
    ///
    /// # Errors
    /// When it panicked.
    pub async fn ended(&mut self) -> Result<(), JoinError> {
        (&mut self.accepting).await
    }

    /// Accepts nothing more and lets running requests finish, for at most `grace`; then all connections end.
    pub async fn stop(self, grace: Duration) {
        self.stop.cancel();
        self.connections.close();
        if timeout(grace, self.connections.wait()).await.is_err() {
            tracing::debug!(connections = self.connections.len(), "requests were still running at the end");
        }
        self.end.cancel();
        self.connections.wait().await;
    }
}

impl Drop for GrpcPort {
    fn drop(&mut self) {
        self.stop.cancel();
        self.end.cancel();
    }
}

struct Accepting {
    listener: TcpListener,
    places: Arc<Places>,
    shared: Shared,
    options: PortOptions,
    connections: TaskTracker,
    stop: CancellationToken,
    end: CancellationToken,
}

impl Accepting {
    async fn run(self) {
        let mut complained: Option<Instant> = None;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => self.admit(stream).await,
                Err(error) => {
                    if complained.is_none_or(|last| last.elapsed() >= ACCEPT_COMPLAINTS) {
                        tracing::warn!(%error, port = self.options.name, "cannot accept connections");
                        complained = Some(Instant::now());
                    }
                    sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    async fn admit(&self, stream: TcpStream) {
        let name = self.options.name;
        let Some(place) = self.places.take().await else {
            // Closed at once: a client that waits for an answer here would not try another node.
            self.options.ports.refuse(name);
            return;
        };
        let tls = self.options.tls.as_ref().map(|tls| tls.borrow().clone());
        let (stop, end, shared, ports) =
            (self.stop.clone(), self.end.clone(), self.shared.clone(), self.options.ports.clone());
        self.connections.spawn(async move {
            let load = Arc::clone(place.load());
            let greeted = tokio::select! {
                greeted = greet(stream, place, tls) => greeted,
                why = load.cut_off() => Err(why),
                () = stop.cancelled() => Err(None),
            };
            let closed = match greeted {
                Ok(stream) => serve(stream, Requests::new(shared, load), stop, end).await,
                Err(closed) => closed,
            };
            if let Some(why) = closed {
                ports.close(name, why);
            }
        });
    }
}

/// Finds out what the client speaks. One that speaks neither is dropped; so is one that says nothing.
async fn greet(stream: TcpStream, place: Place, tls: Option<TlsAcceptor>) -> Result<ClientStream, Option<Closed>> {
    let peer = stream.peer_addr();
    match timeout(GREETING_MAX, shake_hands(stream, place, tls)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            tracing::debug!(?peer, %error, "a client connected and did not get through its greeting");
            Err(None)
        }
        Err(_) => Err(Some(Closed::Silent)),
    }
}

async fn shake_hands(stream: TcpStream, place: Place, tls: Option<TlsAcceptor>) -> io::Result<ClientStream> {
    prepare(&stream)?;
    let mut first = [0_u8; 1];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match tls {
        Some(tls) if first[0] == TLS_HANDSHAKE => Ok(ClientStream::tls(tls.accept(stream).await?, place)),
        _ => Ok(ClientStream::plain(stream, place)),
    }
}

/// Small answers leave at once, and a peer that is gone without a word is noticed in seconds.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNCONFIRMED_MAX))
}
