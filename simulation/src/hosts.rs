//! Where the nodes of a simulated group are.

use std::net::{IpAddr, Ipv4Addr};

/// Where each node listens to its peers.
pub const PEER_PORT: u16 = 7000;

/// The host of the node at this place.
#[must_use]
pub fn host(place: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, u8::try_from(place + 1).expect("few nodes")))
}
