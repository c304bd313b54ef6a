//! Why a node keeps out of elections; what that stops is told in [`vote_gate`](super::vote_gate).

use std::fmt;

/// Why a node neither campaigns nor takes over leadership, and mostly does not grant votes either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateReason {
    /// Part of its log is damaged and not repaired yet (hazards 8). It does not lead; it may grant votes.
    Damaged,
    /// What is damaged is not known to be committed.
    DamagedTail,
    /// It keeps its log in `async` durability and the machine stopped without a clean end, or the device could not read the
    /// end of the log: it may have forgotten what it acknowledged, and waits until it holds what the leader has committed
    /// (hazards 10, 36).
    AsyncUnclean,
    /// Its disk has not finished a write for longer than the limit.
    DiskStalled,
    /// Its data folder is an older copy of itself: it has forgotten votes, and never votes again (hazards 34).
    OlderCopy,
}

impl GateReason {
    /// The name used in status output and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            GateReason::Damaged => "damaged",
            GateReason::DamagedTail => "damaged-tail",
            GateReason::AsyncUnclean => "async-unclean",
            GateReason::DiskStalled => "disk-stalled",
            GateReason::OlderCopy => "older-copy",
        }
    }
}

impl GateReason {
    /// Whether it stops granting votes to others as well.
    #[must_use]
    pub fn stops_granting(self) -> bool {
        match self {
            GateReason::Damaged => false,
            GateReason::DamagedTail | GateReason::AsyncUnclean | GateReason::DiskStalled | GateReason::OlderCopy => {
                true
            }
        }
    }
}

impl fmt::Display for GateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
