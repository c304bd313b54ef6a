//! A new connection to a node.

use std::{error::Error as StdError, io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tonic::transport::{Channel, Endpoint as TonicEndpoint};
use tower::service_fn;

use super::{gather::Gather, tls::Tls};
use crate::endpoint::Endpoint;

/// Flow-control window of a connection and of a stream: several of the largest answers.
const WINDOW_BYTES: u32 = 16 << 20;
/// A connection that is silent this long is probed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// A probe without an answer for this long closes the connection.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where to, how long to try, and how it is secured.
#[derive(Debug, Clone)]
pub(super) struct Dial {
    pub(super) endpoint: Endpoint,
    pub(super) within: Duration,
    pub(super) tls: Option<Arc<Tls>>,
}

type Stream = TokioIo<Gather<Either<TcpStream, TlsStream<TcpStream>>>>;

impl Dial {
    /// Connects; an error says in words to whom it could not, and why.
    pub(super) async fn connect(&self) -> Result<Channel, String> {
        let Dial { endpoint, within, tls } = self;
        let tls = tls.clone();
        let connector = service_fn(move |uri| open(uri, tls.clone()));
        let connected = match self.target() {
            Err(why) => Err(why),
            Ok(target) => match tokio::time::timeout(*within, target.connect_with_connector(connector)).await {
                Ok(connected) => connected.map_err(|error| innermost(&error)),
                Err(_) => Err(format!("no answer within {within:?}")),
            },
        };
        connected.map_err(|why| format!("cannot connect to {endpoint}: {why}"))
    }

    fn target(&self) -> Result<TonicEndpoint, String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(TonicEndpoint::from_shared(format!("{scheme}://{}", self.endpoint))
            .map_err(|error| error.to_string())?
            .connect_timeout(self.within)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT))
    }
}

/// A connection to the host and port of `uri`; the name is resolved now.
async fn open(uri: http::Uri, tls: Option<Arc<Tls>>) -> io::Result<Stream> {
    let missing = || io::Error::new(io::ErrorKind::InvalidInput, format!("{uri} names no host and port"));
    let host = uri.host().ok_or_else(missing)?.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, uri.port_u16().ok_or_else(missing)?)).await?;
    stream.set_nodelay(true)?;
    let stream = match tls {
        None => Either::Left(stream),
        Some(tls) => Either::Right(tls.secure(host, stream).await?),
    };
    Ok(TokioIo::new(Gather::new(stream)))
}

/// The cause at the bottom says it best: "connection refused" rather than "transport error".
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
