//! The sockets that replicas talk through: tokio's, or under `--cfg tercet_sim` those of the simulated network.

#[cfg(tercet_sim)]
pub(crate) use crate::sim::net::{
    BoundListener, OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream, adopt, bind, from_std, guard, release,
};
#[cfg(not(tercet_sim))]
pub(crate) use real::{
    BoundListener, OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream, adopt, bind, from_std, guard, release,
};

#[cfg(not(tercet_sim))]
mod real {
    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;

    /// Connections that may wait to be accepted.
    const LISTEN_BACKLOG: i32 = 128;

    /// The other end of a silent connection is asked for a sign of life after this long ...
    const KEEPALIVE_AFTER: Duration = Duration::from_secs(2);
    /// ... again and again at this interval ...
    const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
    /// ... and the connection is closed when nothing that was sent, question or data, is confirmed for this long.
    const UNCONFIRMED_MAX: Duration = Duration::from_secs(5);

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

    /// Sends small messages at once, and notices within seconds when the other end's host is gone or something between
    /// has forgotten the connection: neither says so.
    pub(crate) fn guard(stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = socket2::SockRef::from(stream);
        let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL);
        socket.set_tcp_keepalive(&keepalive)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(UNCONFIRMED_MAX))?;
        #[cfg(not(target_os = "linux"))]
        let _ = UNCONFIRMED_MAX;
        Ok(())
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
