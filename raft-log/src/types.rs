//! The plain values of the log: positions, terms, identities, time.
//!
//! Each kind of number has its own type, so that a term is never taken for an index nor a wall-clock stamp for a
//! duration. All are `Copy`, ordered by their number and printed as it.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number! {
    /// A member of a broker group. Chosen by the operator, never used again for another data folder (hazards 2).
    NodeId(u64)
}
number! {
    /// A Raft term: at most one leader in each.
    Term(u64)
}
number! {
    /// A Raft position. Index 0 is the bootstrap's membership entry; the first leader's blank entry is 1.
    LogIndex(u64)
}
number! {
    /// A broker group: one Raft log on three nodes.
    GroupId(u32)
}
number! {
    /// Milliseconds since 1970-01-01 UTC.
    UnixMillis(u64)
}

impl LogIndex {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> LogIndex {
        LogIndex(self.0.checked_add(1).expect("a log never reaches 2^64 entries"))
    }
}

/// Term and index of an entry: within one log, equal ids mean equal entries (Raft's log matching).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct LogId {
    /// The term in which the entry was proposed.
    pub term: Term,
    /// The entry's position.
    pub index: LogIndex,
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.index)
    }
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }
    };
}

identity! {
    /// A random number drawn at bootstrap: replicas of different clusters never talk to each other.
    ClusterId
}
identity! {
    /// A random number drawn when a data folder is made: a wiped folder is another one (hazards 2).
    Incarnation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_ids_order_by_term_then_index() {
        let id = |term, index| LogId { term: Term(term), index: LogIndex(index) };
        assert!(id(1, 9) < id(2, 1));
        assert!(id(2, 1) < id(2, 2));
        assert_eq!(id(3, 7).to_string(), "3.7");
    }

    #[test]
    fn identities_print_all_digits() {
        assert_eq!(ClusterId(1).to_string().len(), 32);
    }
}
