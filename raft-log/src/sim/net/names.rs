//! Names of hosts.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::sim::net::state::Network;

impl Network {
    /// From now on `name` is resolved to this address.
    pub fn set_name(&self, name: &str, address: IpAddr) {
        self.lock().names.insert(name.to_owned(), address);
    }

    /// What an address, or a name, with a port stands for now.
    pub(super) fn resolve(&self, address: &str) -> io::Result<SocketAddr> {
        if let Ok(address) = address.parse() {
            return Ok(address);
        }
        let (name, port) = address.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
        let port = port.parse().map_err(io::Error::other)?;
        let found = self.lock().names.get(name).copied();
        found.map(|address| SocketAddr::new(address, port)).ok_or(io::ErrorKind::NotFound.into())
    }
}
