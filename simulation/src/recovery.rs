//! What the group did about the faults: a fault that nobody had to answer proves little.

use std::collections::BTreeMap;
use std::fmt;

use raft_log::sim::observe::{Deed, Event};

/// An answer of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recovery {
    /// A damaged range was written anew from a peer's.
    Repaired,
    /// A follower got a checkpoint.
    Installed,
    /// A leader removed entries of an earlier one.
    Truncated,
    /// A damaged folder was refused, with the advice to join under a fresh id.
    Refused,
    /// A change of voters that a leader left half done was ended by another.
    ChangeEnded,
}

impl Recovery {
    /// All of them.
    pub const ALL: [Recovery; 5] =
        [Recovery::Repaired, Recovery::Installed, Recovery::Truncated, Recovery::Refused, Recovery::ChangeEnded];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Recovery::Repaired => "repaired",
            Recovery::Installed => "checkpoint installed",
            Recovery::Truncated => "suffix truncated",
            Recovery::Refused => "damage told as final",
            Recovery::ChangeEnded => "half-done change ended",
        }
    }

    /// The answer that an event is, if it is one.
    #[must_use]
    pub fn of(event: &Event) -> Option<Recovery> {
        match &event.deed {
            Deed::Repaired(..) => Some(Recovery::Repaired),
            Deed::Began(_) => Some(Recovery::Installed),
            Deed::Truncated(_) => Some(Recovery::Truncated),
            _ => None,
        }
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How often there was each.
pub type Recoveries = BTreeMap<Recovery, u64>;
