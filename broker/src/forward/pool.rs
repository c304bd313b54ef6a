//! Connections to one address for one line: as many as the calls under way need, up to a bound.
//!
//! ```text
//!   seat ─► the first connection with room ─► else one more ─► else none: refused
//! ```
//! A call beyond what HTTP/2 lets a connection carry would wait, without a word, until another ends, and a parked receive
//! ends late. So calls are counted, and a connection is never full.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tonic::transport::{Channel, Endpoint};

use super::line::Size;

/// Connections that grow with the calls on them; each connects when first used and again after it broke.
#[derive(Debug)]
pub(super) struct Pool {
    endpoint: Endpoint,
    size: Size,
    connections: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
struct Connection {
    channel: Channel,
    calls: Arc<AtomicUsize>,
}

/// The place of one call, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    channel: Channel,
    calls: Arc<AtomicUsize>,
}

impl Pool {
    pub(super) fn new(endpoint: Endpoint, size: Size) -> Pool {
        assert!(size.connections_max > 0 && size.calls_max > 0, "a pool carries something: {size:?}");
        let endpoint = endpoint
            .initial_stream_window_size(size.call_window)
            .initial_connection_window_size(size.connection_window);
        Pool { endpoint, size, connections: Mutex::default() }
    }

    /// A place for one more call; nothing if all are taken.
    pub(super) fn seat(&self) -> Option<Seat> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        // Only under the lock does a count go up.
        let has_room = |connection: &&Connection| connection.calls.load(Ordering::Relaxed) < self.size.calls_max;
        let found = connections.iter().find(has_room).map(Connection::seat);
        if found.is_some() || connections.len() >= self.size.connections_max {
            return found;
        }
        let new = Connection { channel: self.endpoint.connect_lazy(), calls: Arc::default() };
        let seat = new.seat();
        connections.push(new);
        Some(seat)
    }
}

impl Connection {
    fn seat(&self) -> Seat {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Seat { channel: self.channel.clone(), calls: Arc::clone(&self.calls) }
    }
}

impl Seat {
    /// The connection.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let calls = self.calls.fetch_sub(1, Ordering::Relaxed);
        assert!(calls > 0, "each call was counted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(connections_max: usize, calls_max: usize) -> Pool {
        let size = Size { connections_max, calls_max, call_window: 1 << 16, connection_window: 1 << 16 };
        Pool::new(Endpoint::from_static("http://127.0.0.1:1"), size)
    }

    #[tokio::test]
    async fn connections_are_filled_one_after_the_other_and_then_calls_are_refused() {
        let pool = pool(2, 3);
        let count = || pool.connections.lock().expect("unpoisoned").len();
        let mut seats: Vec<Seat> = (0..3).map(|_| pool.seat().expect("room")).collect();
        assert_eq!(count(), 1);
        seats.extend((0..3).map(|_| pool.seat().expect("room")));
        assert_eq!(count(), 2);
        assert!(pool.seat().is_none());
        seats.swap_remove(1);
        assert!(pool.seat().is_some(), "the place of one that has ended");
        drop(seats);
        assert_eq!((pool.seat().is_some(), count()), (true, 2));
    }
}
