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
    /// Binds and listens, on the host of the calling process.
    pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        let network = Network::current();
        let id = network.listen(address)?;
        Ok(TcpListener { network, address, id })
    }

    /// The next stream, and who made it.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|context| match self.network.next_accepted(self.address, self.id, context.waker()) {
            Ok(Some(accepted)) => {
                let stream = TcpStream::new(self.network.clone(), accepted.ends);
                Poll::Ready(Ok((stream, accepted.from)))
            }
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
