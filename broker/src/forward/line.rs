//! The lines between two nodes: connections of their own for calls that must not stand in each other's way.

use crate::{
    held_bytes::{HeldBytes, Hold},
    limits::{FORWARDED_CALLS_MAX, FORWARDED_RECEIVES_MAX, REQUESTS_PER_CONNECTION_MAX},
};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// What settles, keeps alive or asks: small requests with one answer.
    Calls,
    /// Publishes, which are large.
    Publishes,
    /// Receives, which wait for long, and whose answers clients take at their own pace.
    Receives,
}

/// How much a line carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Connections to one address.
    pub(super) connections_max: usize,
    /// Calls under way on one of them. What HTTP/2 does not let through would wait without a word.
    pub(super) calls_max: usize,
    /// Bytes that the other side may send ahead on one call ...
    pub(super) call_window: u32,
    /// ... and on all calls of one connection.
    pub(super) connection_window: u32,
}

/// Of what the other side takes on a connection, half: a call that has ended here may not have ended there.
const CALLS_PER_CONNECTION: usize = REQUESTS_PER_CONNECTION_MAX as usize / 2;
/// What the leader may send ahead on one receive: as much stays in this node's memory when its client does not read.
pub const RECEIVE_WINDOW: u32 = 128 << 10;

impl Line {
    pub(super) const ALL: [Line; 3] = [Line::Calls, Line::Publishes, Line::Receives];

    /// Publishes leave a part of the bytes to what settles and keeps alive: the overload of the ones never refuses the others.
    pub(super) fn hold(self, bytes: usize, of: &HeldBytes) -> Option<Hold<'_>> {
        match self {
            Line::Publishes => of.hold_and_leave_a_quarter(bytes),
            Line::Calls | Line::Receives => of.hold(bytes),
        }
    }

    pub(super) const fn size(self) -> Size {
        let calls_max = CALLS_PER_CONNECTION;
        match self {
            Line::Calls | Line::Publishes => Size {
                connections_max: FORWARDED_CALLS_MAX / calls_max,
                calls_max,
                call_window: 4 << 20,
                connection_window: 16 << 20,
            },
            Line::Receives => Size {
                connections_max: FORWARDED_RECEIVES_MAX / calls_max,
                calls_max,
                call_window: RECEIVE_WINDOW,
                // What one of them leaves unread is its own window, and no other's.
                connection_window: calls_max as u32 * RECEIVE_WINDOW,
            },
        }
    }
}

const _: () = assert!(CALLS_PER_CONNECTION < (1 << 31) / RECEIVE_WINDOW as usize, "HTTP/2 allows no larger window");
