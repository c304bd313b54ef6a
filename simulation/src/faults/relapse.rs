//! A loss of power that follows a failed sync: see [`relapsing`](super::relapsing).

use std::time::Duration;

use tokio::time::Instant;

/// A process that has not ended by then goes on in spite of the fault.
const ENDS_WITHIN: Duration = Duration::from_millis(500);
/// One that is due.
pub(super) struct Relapse {
    pub(super) place: usize,
    pub(super) has_ended: bool,
    pub(super) at_once: bool,
    pub(super) until: Instant,
}

impl Relapse {
    pub(super) fn begin(place: usize, at_once: bool) -> Relapse {
        Relapse { place, has_ended: false, at_once, until: Instant::now() + ENDS_WITHIN }
    }
}
