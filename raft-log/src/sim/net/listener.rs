//! A listening socket of a simulated host.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use crate::sim::net::state::Network;
use crate::sim::net::stream::TcpStream;

/// See the module.
pub struct TcpListener {
    network: Network,
    address: SocketAddr,
    id: u64,
}

impl TcpListener {
    pub(super) fn new(network: Network, address: SocketAddr, id: u64) -> TcpListener {
        TcpListener { network, address, id }
    }

    /// The next stream, and who made it.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|context| match self.network.next_accepted(self.address, self.id, context.waker()) {
            Ok(Some(accepted)) => Poll::Ready(Ok(accepted)),
            Ok(None) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        })
        .await
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.network.unlisten(self.address, self.id);
    }
}
