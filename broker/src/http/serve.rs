//! The connections of the HTTP port.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service as _;

use super::{Pages, router};
use crate::{
    listen::{OpenBody, Place, Places, UNREAD_MAX, prepare},
    metrics::{Closed, Ports},
};

/// The port's name in metrics.
const NAME: &str = "http";
/// From the start of a connection to the end of its request's head.
const HEAD_MAX: Duration = Duration::from_secs(5);
/// From its start to the end of its answer.
const CONNECTION_MAX: Duration = Duration::from_secs(30);
/// Wait after an accept that failed for want of memory or descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Serves until `stop`, and lets running requests end. Of at most `connections_max` connections, those that have asked for
/// something are answered, and the others make way for newer ones.
pub fn serve(
    listener: TcpListener,
    pages: Pages,
    ports: &Ports,
    connections_max: usize,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + use<> {
    let (router, ports) = (router(pages), ports.clone());
    let places = Places::new(connections_max, ports.open(NAME));
    async move {
        let connections = TaskTracker::new();
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            // Failures are not logged: a full table of descriptors must not fill the log too.
            let Ok((stream, _)) = stream else {
                sleep(ACCEPT_BACKOFF).await;
                continue;
            };
            match places.take().await {
                Some(place) => drop(connections.spawn(connection(stream, place, router.clone(), ports.clone()))),
                None => ports.refuse(NAME),
            }
        }
        connections.close();
        connections.wait().await;
    }
}

async fn connection(stream: TcpStream, place: Place, router: Router, ports: Ports) {
    let load = Arc::clone(place.load());
    let answer = service_fn(|request: Request<Incoming>| {
        let open = load.open_request(UNREAD_MAX);
        let answering = router.clone().call(request.map(Body::new));
        async move { answering.await.map(|answer| answer.map(|body| OpenBody::new(body, open))) }
    });
    if prepare(&stream).is_err() {
        return;
    }
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).keep_alive(false);
    let serving = builder.serve_connection(TokioIo::new(stream), answer);
    let why = tokio::select! {
        served = timeout(CONNECTION_MAX, serving) => served.is_err().then_some(Closed::Late),
        why = load.cut_off() => why,
    };
    if let Some(why) = why {
        ports.close(NAME, why);
    }
}
