//! Kept connections to the client ports of the other nodes.
//!
//! Receives have one of their own. What a client does not read of its answer stays in the windows of the connection that
//! it came by: on a shared one a few such clients would stop everybody's sends, acknowledgements and heartbeats.

use std::{
    collections::HashMap,
    error::Error as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tonic::transport::{Channel, Endpoint};

/// Bytes that the leader may send ahead on one call, and on all calls together.
const CALL_WINDOW: u32 = 4 << 20;
const CALLS_WINDOW: u32 = 16 << 20;
/// The same for receives. Together as much as HTTP/2 allows: what one of them leaves unread is its own window, and no
/// other's.
const RECEIVE_WINDOW: u32 = 1 << 20;
const RECEIVES_WINDOW: u32 = (1 << 31) - 1;
/// A connection is asked this often whether it lives, also while it is idle, and given up without an answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Requests with one answer.
    Calls,
    /// Receives, whose answers clients take at their own pace.
    Receives,
}

/// Addresses kept at once; a group has few nodes, so this bounds only addresses that come and go.
const ADDRESSES_MAX: usize = 64;

/// The connections to one address.
struct Kept {
    calls: Channel,
    receives: Channel,
}

impl Kept {
    fn of(&self, line: Line) -> Channel {
        match line {
            Line::Calls => self.calls.clone(),
            Line::Receives => self.receives.clone(),
        }
    }
}

/// Kept HTTP/2 connections, one for each address and line; each connects when first used and again after it broke.
#[derive(Default)]
pub struct Peers {
    kept: Mutex<HashMap<String, Kept>>,
}

impl Peers {
    /// The connection to `host:port`, nothing if that is no address. The name is resolved at each connect (hazards 28).
    pub fn channel(&self, address: &str, line: Line) -> Option<Channel> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.get(address) {
            return Some(kept.of(line));
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
        let windows = |one, all| endpoint.clone().initial_stream_window_size(one).initial_connection_window_size(all);
        let calls = windows(CALL_WINDOW, CALLS_WINDOW).connect_lazy();
        let receives = windows(RECEIVE_WINDOW, RECEIVES_WINDOW).connect_lazy();
        let new = Kept { calls, receives };
        let channel = new.of(line);
        kept.insert(address.to_owned(), new);
        Some(channel)
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
        let channel = Peers::default().channel(&closed_port().await, Line::Calls).expect("an address");
        let mut client = MessagingServiceClient::new(channel);
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
        let channel = Peers::default().channel(&address, Line::Calls).expect("an address");
        let error = MessagingServiceClient::new(channel)
            .heartbeat(HeartbeatRequest::default())
            .await
            .expect_err("the peer hangs up");
        assert!(!never_sent(&error), "{error:?}");
    }

    #[tokio::test]
    async fn connections_are_kept_and_junk_is_no_address() {
        let peers = Peers::default();
        for line in [Line::Calls, Line::Calls, Line::Receives] {
            assert!(peers.channel("127.0.0.1:1", line).is_some());
        }
        assert_eq!(peers.kept.lock().expect("unpoisoned").len(), 1);
        assert!(peers.channel("a b", Line::Calls).is_none());
    }
}
