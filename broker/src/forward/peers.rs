//! Kept connections to the client ports of the other nodes.

use std::{
    collections::HashMap,
    error::Error as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tonic::transport::{Channel, Endpoint};

/// Connections kept at once; a group has few nodes, so this bounds only addresses that come and go.
const CHANNELS_MAX: usize = 64;

/// One kept HTTP/2 connection per address; it connects when first used and again after it broke.
#[derive(Default)]
pub struct Peers {
    channels: Mutex<HashMap<String, Channel>>,
}

impl Peers {
    /// The connection to `host:port`, nothing if that is no address. The name is resolved at each connect (hazards 28).
    pub fn channel(&self, address: &str) -> Option<Channel> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Some(channel.clone());
        }
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .ok()?
            .connect_timeout(Duration::from_secs(1))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(2))
            .keep_alive_timeout(Duration::from_secs(2))
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .connect_lazy();
        channels.insert(address.to_owned(), channel.clone());
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
        let channel = Peers::default().channel(&closed_port().await).expect("an address");
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
        let channel = Peers::default().channel(&address).expect("an address");
        let error = MessagingServiceClient::new(channel)
            .heartbeat(HeartbeatRequest::default())
            .await
            .expect_err("the peer hangs up");
        assert!(!never_sent(&error), "{error:?}");
    }

    #[tokio::test]
    async fn connections_are_kept_and_junk_is_no_address() {
        let peers = Peers::default();
        assert!(peers.channel("127.0.0.1:1").is_some() && peers.channel("127.0.0.1:1").is_some());
        assert_eq!(peers.channels.lock().expect("unpoisoned").len(), 1);
        assert!(peers.channel("a b").is_none());
    }
}
