//! One kept connection per node.

use std::{collections::BTreeMap, error::Error as StdError, sync::Arc, time::Duration};

use std::sync::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint as TonicEndpoint},
};

use crate::endpoint::Endpoint;

/// Flow-control window of a connection and of a stream: several of the largest answers.
const WINDOW_BYTES: u32 = 16 << 20;
/// A connection that is silent this long is probed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// A probe without an answer for this long closes the connection.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why an attempt gave no answer.
#[derive(Debug)]
pub(crate) enum AttemptError {
    /// No byte of the request was sent.
    NotSent(String),
    /// The request was sent, perhaps in part; or the node answered with a gRPC error.
    Failed(Status),
}

impl AttemptError {
    /// Says so of a gRPC error that came from a failed connect, which tonic reports like any other.
    pub(crate) fn of(status: Status) -> Self {
        let mut cause = status.source();
        while let Some(error) = cause {
            if error.is::<tonic::ConnectError>() {
                return Self::NotSent(format!("cannot connect: {error}"));
            }
            cause = error.source();
        }
        Self::Failed(status)
    }

    /// Whether the node, or the way to it, is to be avoided for a while.
    pub(crate) fn is_silence(&self) -> bool {
        match self {
            Self::NotSent(_) => true,
            Self::Failed(status) => matches!(
                status.code(),
                Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Unknown | Code::Internal
            ),
        }
    }

    /// In words, without the noise of nested errors.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::NotSent(why) => why.clone(),
            Self::Failed(status) if status.message().is_empty() => format!("gRPC {:?}", status.code()),
            Self::Failed(status) => format!("gRPC {:?}: {}", status.code(), status.message()),
        }
    }
}

/// The connections of one client. Bounded by the number of endpoints that routes name.
#[derive(Debug)]
pub(crate) struct Connections {
    slots: Mutex<BTreeMap<Endpoint, Arc<Slot>>>,
    connect_timeout: Duration,
}

/// The place of one connection; the lock lets one caller connect while the others wait for it.
type Slot = AsyncMutex<Option<Channel>>;

impl Connections {
    pub(crate) fn new(connect_timeout: Duration) -> Self {
        Self { slots: Mutex::new(BTreeMap::new()), connect_timeout }
    }

    /// The connection to `endpoint`, made if there is none.
    pub(crate) async fn get(&self, endpoint: &Endpoint) -> Result<Channel, AttemptError> {
        let slot = Arc::clone(self.lock().entry(endpoint.clone()).or_default());
        let mut slot = slot.lock().await;
        if let Some(channel) = slot.as_ref() {
            return Ok(channel.clone());
        }
        let target = TonicEndpoint::from_shared(format!("http://{endpoint}"))
            .map_err(|error| AttemptError::NotSent(format!("{endpoint} is no address: {error}")))?
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        let connected = tokio::time::timeout(self.connect_timeout, target.connect()).await;
        match connected {
            Ok(Ok(channel)) => Ok(slot.insert(channel).clone()),
            Ok(Err(error)) => {
                Err(AttemptError::NotSent(format!("cannot connect to {endpoint}: {}", innermost(&error))))
            }
            Err(_) => Err(AttemptError::NotSent(format!(
                "cannot connect to {endpoint}: no answer within {:?}",
                self.connect_timeout
            ))),
        }
    }

    /// Forgets the connection to `endpoint`. Requests that are on it run to their end.
    pub(crate) fn forget(&self, endpoint: &Endpoint) {
        self.lock().remove(endpoint);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Endpoint, Arc<Slot>>> {
        self.slots.lock().expect("no holder of this lock panics")
    }
}

/// The cause at the bottom says it best: "connection refused" rather than "transport error".
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
