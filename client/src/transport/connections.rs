//! The kept link to each node.

use std::{
    collections::BTreeMap,
    error::Error as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::Mutex as AsyncMutex, time::Instant};
use tonic::{Code, Status};

use super::{dial::Dial, link::Link, tls::Tls};
use crate::endpoint::Endpoint;

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

    /// Whether the node, or the way to it, is to be avoided for a while. A node that answers that something went wrong in it is
    /// not silent.
    pub(crate) fn is_silence(&self) -> bool {
        match self {
            Self::NotSent(_) => true,
            Self::Failed(status) => match status.code() {
                Code::Unavailable | Code::DeadlineExceeded => true,
                Code::Cancelled | Code::Unknown | Code::Internal => status.source().is_some(),
                _ => false,
            },
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
    tls: Option<Arc<Tls>>,
}

/// The place of one connection; the lock lets one caller connect while the others wait for it.
type Slot = AsyncMutex<Place>;

#[derive(Debug, Default)]
struct Place {
    link: Option<Link>,
    /// When the last try to connect failed, and why: it counts for all who were waiting then.
    failure: Option<(Instant, String)>,
}

impl Connections {
    pub(crate) fn new(connect_timeout: Duration, tls: Option<Tls>) -> Self {
        Self { slots: Mutex::new(BTreeMap::new()), connect_timeout, tls: tls.map(Arc::new) }
    }

    /// The connection to `endpoint`, made if there is none.
    pub(crate) async fn get(&self, endpoint: &Endpoint) -> Result<Link, AttemptError> {
        let asked = Instant::now();
        let slot = Arc::clone(self.lock().entry(endpoint.clone()).or_default());
        let mut place = slot.lock().await;
        if let Some(link) = &place.link {
            return Ok(link.clone());
        }
        if let Some((_, why)) = place.failure.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(AttemptError::NotSent(why.clone()));
        }
        let dial = Dial { endpoint: endpoint.clone(), within: self.connect_timeout, tls: self.tls.clone() };
        match dial.connect().await {
            Ok(channel) => Ok(place.link.insert(Link::new(channel, dial)).clone()),
            Err(why) => {
                place.failure = Some((Instant::now(), why.clone()));
                Err(AttemptError::NotSent(why))
            }
        }
    }

    /// Forgets this connection to `endpoint`, unless it has a successor already. Requests that are on it run to their end.
    pub(crate) fn forget(&self, endpoint: &Endpoint, link: &Link) {
        let mut slots = self.lock();
        // Somebody who connects holds the lock: that makes a successor.
        let is_kept = slots
            .get(endpoint)
            .and_then(|slot| slot.try_lock().ok())
            .is_some_and(|place| place.link.as_ref().is_some_and(|kept| kept.is_same(link)));
        if is_kept {
            slots.remove(endpoint);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Endpoint, Arc<Slot>>> {
        self.slots.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 192.0.2.1 is reserved for documentation: it answers to nobody.
    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_a_connection_shares_its_failure() {
        let connections = Connections::new(Duration::from_secs(1), None);
        let endpoint: Endpoint = "192.0.2.1:1".parse().unwrap();
        let begun = Instant::now();
        let all = (0..10).map(|_| connections.get(&endpoint));
        for result in futures::future::join_all(all).await {
            assert!(matches!(result, Err(AttemptError::NotSent(why)) if why.contains("192.0.2.1:1")));
        }
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
}
