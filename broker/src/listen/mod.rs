//! The listening sockets, and the ports that serve gRPC; that of clients takes TLS and plaintext alike.
//!
//! ```text
//!  accept ─► place ─► first byte ─┬─ 0x16: a TLS handshake record ─► TLS, ALPN h2 ─┬─► HTTP/2 ─► admission ─► services
//!                                 └─ else: HTTP/2 in plaintext ────────────────────┘
//! ```
//!
//! Official clients of some languages start with TLS and trust any certificate, those of others start in plaintext;
//! one port serves both, as the reference server does.
//!
//! Whatever strangers can take here has a bound and a deadline (hazards 39): places (`places`), silence and idleness
//! (`serve`), bytes of requests that are not whole (`unfinished`), answers that nobody reads (`load`). What the
//! requests mean is not known here.

mod answer;
mod load;
mod not_after;
mod places;
mod port;
mod requests;
mod serve;
mod stream;
mod tls;
mod unfinished;

use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

pub(crate) use answer::{AnswerBody, PREFIX_BYTES, put, well, whole};
pub use load::Load;
pub(crate) use places::{Place, Places};
pub(crate) use port::prepare;
pub use port::{GrpcPort, PortOptions, Services};
pub(crate) use requests::{Direct, OpenBody, RequestBody, UNREAD_MAX};
pub use tls::{Certificates, TlsError};
pub(crate) use tls::{keep_self_signed, names};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// A port that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (setting {setting}): {source}")]
pub struct ListenError {
    /// The setting that names the address.
    pub setting: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: std::io::Error,
}

/// Binds a port. `setting` is named when that fails.
///
/// # Errors
/// The port is in use, or not ours to take.
pub fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    bind_std(setting, address)
        .and_then(|listener| TcpListener::from_std(listener).map_err(|source| ListenError { setting, address, source }))
}

/// The same for a socket that another runtime will use.
///
/// # Errors
/// The port is in use, or not ours to take.
pub fn bind_std(setting: &'static str, address: SocketAddr) -> Result<std::net::TcpListener, ListenError> {
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restarted node takes its port at once, though old connections linger in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(std::net::TcpListener::from(socket))
    };
    bound().map_err(|source| ListenError { setting, address, source })
}

#[cfg(test)]
mod tests;
