//! What an inspection found, as plain values.

use crate::storage::{HardState, RecordKind};
use crate::types::{ClusterId, GroupId, Incarnation, LogId, LogIndex, NodeId, Term};
use std::path::{Path, PathBuf};

/// Everything that an inspection found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whose folder it is, where that is readable.
    pub identity: Option<IdentitySummary>,
    /// What the log consists of, where that is readable.
    pub manifest: Option<ManifestSummary>,
    /// Term and vote, where they are readable.
    pub hard_state: Option<HardState>,
    /// The segments that were read, ascending.
    pub segments: Vec<SegmentSummary>,
    /// The complete checkpoints of the state, ascending.
    pub checkpoints: Vec<CheckpointSummary>,
    /// What is wrong, or worth knowing.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is damaged or missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Note)
    }

    /// Entries that were read and are good.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.segments.iter().map(|segment| segment.entries).sum()
    }

    /// The last good entry.
    #[must_use]
    pub fn last(&self) -> Option<LogId> {
        self.segments.iter().filter_map(|segment| segment.last).max_by_key(|id| id.index)
    }
}

/// Whose folder it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySummary {
    /// The node.
    pub node: NodeId,
    /// The broker group.
    pub group: GroupId,
    /// The incarnation of the folder (hazards 2).
    pub incarnation: Incarnation,
    /// The cluster, once claimed.
    pub cluster: Option<ClusterId>,
}

/// What the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestSummary {
    /// The broker group.
    pub group: GroupId,
    /// The last entry that Raft no longer sees.
    pub purged: Option<LogId>,
    /// A truncation that was under way: the first entry that it removes.
    pub truncating: Option<LogIndex>,
    /// The base index of each segment.
    pub segments: Vec<LogIndex>,
}

/// What is in one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// The file.
    pub file: PathBuf,
    /// The index of its first entry, and the index after its last one, lost ones included.
    pub base: LogIndex,
    /// See `base`.
    pub end: LogIndex,
    /// The length of the file.
    pub file_bytes: u64,
    /// The bytes up to the end of the last record, the header of the file included.
    pub used_bytes: u64,
    /// Good entries, and the payload in them.
    pub entries: u64,
    /// See `entries`.
    pub payload_bytes: u64,
    /// Records that only carry a durable mark.
    pub marks: u64,
    /// Where each term begins, by its first good entry.
    pub terms: Vec<(Term, LogIndex)>,
    /// The first and last good entry.
    pub first: Option<LogId>,
    /// See `first`.
    pub last: Option<LogId>,
    /// All entries below this are marked as durable (hazards 3).
    pub mark_end: LogIndex,
}

/// A checkpoint of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSummary {
    /// Its folder.
    pub dir: PathBuf,
    /// The last entry in it.
    pub id: LogId,
    /// The length of its files.
    pub bytes: u64,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Worth knowing; the node starts and loses nothing that was acknowledged.
    Note,
    /// Something that was durable is damaged or missing.
    Damage,
}

/// Something that is wrong or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// In which file.
    pub file: PathBuf,
    /// Where in it, if at one place.
    pub offset: Option<u64>,
    /// Which entries are concerned: the first, and the one after the last.
    pub entries: Option<(LogIndex, LogIndex)>,
    /// What, in words.
    pub reason: String,
}

impl Finding {
    /// A finding that concerns a file as a whole.
    pub(super) fn of_file(severity: Severity, file: &Path, reason: impl Into<String>) -> Finding {
        Finding { severity, file: file.into(), offset: None, entries: None, reason: reason.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at offset {offset}")?;
        }
        match self.entries {
            Some((first, end)) if end.0 == first.0 + 1 => write!(f, ", entry {first}")?,
            Some((first, end)) if end > first => write!(f, ", entries {first} to {}", end.0 - 1)?,
            Some(_) | None => {}
        }
        write!(f, ": {}", self.reason)
    }
}

/// One record of a dump, or a place where records are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dumped<'a> {
    /// An entry of the log.
    Entry {
        /// The segment.
        file: &'a Path,
        /// Where its record begins.
        offset: u64,
        /// Term and index.
        id: LogId,
        /// What it carries.
        kind: RecordKind,
        /// Messages in it.
        count: u32,
        /// Length of its payload.
        payload_bytes: u32,
        /// CRC32C of its payload.
        payload_crc: u32,
        /// Entries below this were durable when it was written.
        durable_end: LogIndex,
    },
    /// A record that only carries a durable mark.
    Mark {
        /// The segment.
        file: &'a Path,
        /// Where it begins.
        offset: u64,
        /// The entry before it.
        after: LogId,
        /// Entries below this were durable when it was written.
        durable_end: LogIndex,
    },
    /// A place where records are lost.
    Hole {
        /// The segment.
        file: &'a Path,
        /// Where it begins and ends.
        offset: u64,
        /// See `offset`.
        end_offset: u64,
        /// The first lost entry, and the one after the last.
        first: LogIndex,
        /// See `first`.
        end: LogIndex,
        /// What is wrong with the first bad record.
        reason: String,
    },
}
