//! What is wrong with a record of a segment.

use super::format::HeaderFault;
use crate::types::{LogIndex, Term};

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadRecord {
    Header(HeaderFault),
    BehindFile,
    Index {
        found: LogIndex,
    },
    TermFell {
        found: Term,
    },
    Mark,
    PayloadCrc,
    /// The header is good, and the device cannot read all of the payload.
    PayloadUnreadable,
}

impl BadRecord {
    /// Whether the device could not read it, so that nobody knows whether it was torn.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self, BadRecord::PayloadUnreadable | BadRecord::Header(HeaderFault::Unreadable))
    }
}

impl std::fmt::Display for BadRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadRecord::Header(fault) => fault.fmt(f),
            BadRecord::BehindFile => f.write_str("the record would end behind the file"),
            BadRecord::Index { found } => write!(f, "the record there has index {found}"),
            BadRecord::TermFell { found } => write!(f, "the record there is of the older term {found}"),
            BadRecord::Mark => f.write_str("the record's durable mark is above the record"),
            BadRecord::PayloadCrc => f.write_str("the CRC of the payload does not match"),
            BadRecord::PayloadUnreadable => f.write_str("the device cannot read the payload"),
        }
    }
}
