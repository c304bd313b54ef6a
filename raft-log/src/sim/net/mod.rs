//! A simulated network: hosts, streams between them, and what a test does to both.
//!
//! Streams behave as TCP does: bytes arrive in order or not at all; what a cut link holds back arrives once it is mended;
//! a host without power is silent, and after its return answers old streams with a reset; a process that dies closes its
//! streams. Streams are independent of each other, so what is sent on two of them may overtake.

mod listener;
mod names;
mod pipe;
mod state;
mod stream;

pub use listener::TcpListener;
pub use state::{Network, NetworkCounts};
pub use stream::{OwnedReadHalf, OwnedWriteHalf, TcpStream};

use std::io;
use std::net::SocketAddr;

/// A listening socket that no task has taken over yet; here it is the same.
pub(crate) type BoundListener = TcpListener;

/// Binds and listens, on the host of the calling process.
pub(crate) fn bind(address: SocketAddr) -> io::Result<BoundListener> {
    TcpListener::bind(address)
}

/// Sockets of the system do not exist here.
pub(crate) fn from_std(_listener: std::net::TcpListener) -> io::Result<BoundListener> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "a simulated process has no sockets of the system; give an address"))
}

/// Takes over a bound socket.
#[expect(clippy::unnecessary_wraps, reason = "on a machine this may fail")]
pub(crate) fn adopt(listener: BoundListener) -> io::Result<TcpListener> {
    Ok(listener)
}

/// There is nothing to set here: hosts that are silent are found by what the code itself waits for.
#[expect(clippy::unnecessary_wraps, reason = "on a machine this may fail")]
pub(crate) fn guard(_stream: &TcpStream) -> io::Result<()> {
    Ok(())
}

/// Gives a socket back.
#[expect(clippy::unnecessary_wraps, reason = "on a machine this may fail")]
pub(crate) fn release(listener: TcpListener) -> io::Result<BoundListener> {
    Ok(listener)
}
