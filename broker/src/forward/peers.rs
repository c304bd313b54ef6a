//! Kept connections to the client ports of the other nodes, in lines of their own.
//!
//! What a client does not read of its answer stays in the windows of the connection that it came by, and a parked receive
//! holds its place on one for long: on shared ones a few such clients would stop everybody's sends, acknowledgements and
//! heartbeats.

use std::{
    collections::HashMap,
    error::Error as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tonic::transport::Endpoint;

use super::{
    line::{Line, Size},
    pool::{Pool, Seat},
};

/// A connection is asked this often whether it lives, also while it is idle, and given up without an answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Addresses kept at once; a group has few nodes, so this bounds only addresses that come and go.
const ADDRESSES_MAX: usize = 64;

/// The connections to one address, by line.
struct Lines([Pool; Line::ALL.len()]);

/// Kept HTTP/2 connections to other nodes.
pub struct Peers {
    kept: Mutex<HashMap<String, Arc<Lines>>>,
    size: fn(Line) -> Size,
}

/// Why no call can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSeat {
    /// That is no address.
    Address,
    /// The line carries as much as it may.
    Full,
}

impl Default for Peers {
    fn default() -> Peers {
        Peers::sized(Line::size)
    }
}

impl Peers {
    /// With lines of these sizes.
    pub(super) fn sized(size: fn(Line) -> Size) -> Peers {
        Peers { kept: Mutex::default(), size }
    }

    /// A place for one call to `host:port`. The name is resolved at each connect (hazards 28).
    pub(super) fn seat(&self, address: &str, line: Line) -> Result<Seat, NoSeat> {
        let lines = self.lines(address).ok_or(NoSeat::Address)?;
        lines.0[line as usize].seat().ok_or(NoSeat::Full)
    }

    fn lines(&self, address: &str) -> Option<Arc<Lines>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = kept.get(address) {
            return Some(Arc::clone(lines));
        }
        if kept.len() >= ADDRESSES_MAX {
            kept.clear();
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .ok()?
            .connect_timeout(Duration::from_secs(1))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let lines = Arc::new(Lines(Line::ALL.map(|line| Pool::new(endpoint.clone(), (self.size)(line)))));
        kept.insert(address.to_owned(), Arc::clone(&lines));
        Some(lines)
    }
}

/// Whether the call failed because no connection could be made, so that no byte of the request left this node.
pub fn never_sent(status: &tonic::Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use tercet_proto::rocketmq::v2::{HeartbeatRequest, messaging_service_client::MessagingServiceClient};

    use super::*;

    /// A port on which nobody listens.
    async fn closed_port() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        listener.local_addr().expect("bound").to_string()
    }

    #[tokio::test]
    async fn a_refused_connection_is_known_as_never_sent() {
        let seat = Peers::default().seat(&closed_port().await, Line::Calls).expect("an address");
        let mut client = MessagingServiceClient::new(seat.channel());
        let error = client.heartbeat(HeartbeatRequest::default()).await.expect_err("nobody listens");
        assert!(never_sent(&error), "{error:?}");
    }

    #[tokio::test]
    async fn a_connection_that_breaks_after_the_request_is_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            let mut bytes = [0; 1024];
            let _ = tokio::io::AsyncReadExt::read(&mut socket, &mut bytes).await;
        });
        let seat = Peers::default().seat(&address, Line::Calls).expect("an address");
        let error = MessagingServiceClient::new(seat.channel())
            .heartbeat(HeartbeatRequest::default())
            .await
            .expect_err("the peer hangs up");
        assert!(!never_sent(&error), "{error:?}");
    }

    #[tokio::test]
    async fn connections_are_kept_by_address_and_line_and_junk_is_no_address() {
        let peers = Peers::sized(|line| Size { connections_max: 1, calls_max: 1, ..line.size() });
        let parked = peers.seat("127.0.0.1:1", Line::Receives).expect("room");
        assert_eq!(peers.seat("127.0.0.1:1", Line::Receives).expect_err("full"), NoSeat::Full);
        assert!(peers.seat("127.0.0.1:1", Line::Calls).is_ok() && peers.seat("127.0.0.1:1", Line::Publishes).is_ok());
        assert!(peers.seat("127.0.0.1:2", Line::Receives).is_ok());
        assert_eq!(peers.kept.lock().expect("unpoisoned").len(), 2);
        assert_eq!(peers.seat("a b", Line::Calls).expect_err("no address"), NoSeat::Address);
        drop(parked);
        assert!(peers.seat("127.0.0.1:1", Line::Receives).is_ok());
    }
}
