//! The sockets that replicas talk through: tokio's, or under `--cfg tercet_sim` those of the simulated network.

#[cfg(tercet_sim)]
pub(crate) use crate::sim::net::{
    BoundListener, OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream, adopt, bind, from_std, release,
};
#[cfg(not(tercet_sim))]
pub(crate) use real::{
    BoundListener, OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream, adopt, bind, from_std, release,
};

#[cfg(not(tercet_sim))]
mod real {
    use std::io;
    use std::net::SocketAddr;

    /// Connections that may wait to be accepted.
    const LISTEN_BACKLOG: i32 = 128;

    /// A listening socket that no runtime has taken over yet.
    pub(crate) type BoundListener = std::net::TcpListener;
    pub(crate) use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
    pub(crate) use tokio::net::{TcpListener, TcpStream};

    /// Binds and listens; the port is taken over with [`adopt`].
    pub(crate) fn bind(address: SocketAddr) -> io::Result<BoundListener> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        // A restarted node takes its port back while old connections are still in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        Ok(socket.into())
    }

    /// A socket that the caller has bound.
    #[expect(clippy::unnecessary_wraps, reason = "the simulated network has no sockets of the system")]
    pub(crate) fn from_std(listener: std::net::TcpListener) -> io::Result<BoundListener> {
        Ok(listener)
    }

    /// Gives the socket to the runtime that this runs on.
    pub(crate) fn adopt(listener: BoundListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    }

    /// Takes the socket away from its runtime, for another one to adopt.
    pub(crate) fn release(listener: TcpListener) -> io::Result<BoundListener> {
        listener.into_std()
    }
}
