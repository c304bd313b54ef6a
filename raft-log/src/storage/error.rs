//! The three boundaries at which the log can fail: opening, writing, reading.

use crate::types::{GroupId, LogId, LogIndex, Term};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a write was refused or failed.
///
/// `Io` and `Stopped` are final: the log accepts nothing more ([`StorageError::is_fatal`]). The others refuse one call
/// that the caller got wrong, change nothing, and a retry of the same call cannot help.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// A write or sync failed. Nothing since the last good sync may be assumed; the node must stop.
    #[error("{action} {file} failed: {source}; the log accepts nothing more", file = file.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        file: PathBuf,
        /// The operating system's answer.
        source: Arc<io::Error>,
    },
    /// The log was shut down, or its I/O thread died.
    #[error("the log is stopped")]
    Stopped,
    /// The records do not follow the end of the log.
    #[error("append of index {found} to a log that expects {expected}")]
    NotContiguous {
        /// The index that the log expects.
        expected: LogIndex,
        /// The index that was given.
        found: LogIndex,
    },
    /// A record's term is below the one before it.
    #[error("append of {found} after term {last}")]
    TermFell {
        /// The term of the record before.
        last: Term,
        /// The record that was given.
        found: LogId,
    },
    /// A payload above the limit.
    #[error("payload of {bytes} bytes at index {index} is above the limit of {bytes_max}")]
    RecordTooLarge {
        /// The record.
        index: LogIndex,
        /// Its payload's length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The hard state would go back to an older term.
    #[error("hard state of term {found} after term {saved}")]
    HardStateBehind {
        /// The saved term.
        saved: Term,
        /// The term that was given.
        found: Term,
    },
    /// A purge that names an entry that the log does not hold (hazards 1).
    #[error("purge to {purge}, but the log's entry there is {held:?}")]
    PurgeRefused {
        /// The entry that was to be purged.
        purge: LogId,
        /// What the log holds at that index, if anything.
        held: Option<LogId>,
    },
    /// The log was to begin anew behind an entry that does not lie beyond its end.
    #[error("the log cannot begin anew behind {begin}: it reaches to {last}; purge or truncate it instead")]
    BeginRefused {
        /// The entry behind which it was to begin.
        begin: LogId,
        /// The last entry of the log.
        last: LogId,
    },
    /// A truncation that would remove purged (hence committed) entries.
    #[error("truncation from index {from} would remove entries up to the purged {purged}")]
    TruncateRefused {
        /// The first index to remove.
        from: LogIndex,
        /// The purge point.
        purged: LogId,
    },
}

impl StorageError {
    /// Whether the log is dead: the node must stop.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, StorageError::Io { .. } | StorageError::Stopped)
    }
}

/// Why a read failed; see [`ReadError::may_pass`].
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes on disk are not what was written, or the device cannot read them.
    #[error("{file} is damaged at offset {offset}, index {index}: {reason}", file = file.display())]
    Corrupt {
        /// The segment file.
        file: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// The record's index.
        index: LogIndex,
        /// What does not fit.
        reason: String,
    },
    /// The file could not be read, and not because of what is in it.
    #[error("reading {file} failed: {source}", file = file.display())]
    Io {
        /// The segment file.
        file: PathBuf,
        /// The operating system's answer.
        source: Arc<io::Error>,
    },
    /// The entry is below what the disk still holds.
    #[error("index {index} is below the first kept entry {first}")]
    Removed {
        /// The index that was asked for.
        index: LogIndex,
        /// The first index on disk.
        first: LogIndex,
    },
    /// The replica is stopping.
    #[error("the replica is stopping")]
    Stopped,
}

impl ReadError {
    /// Whether the same read may succeed later: damage is repaired, and a device or the system may recover.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, ReadError::Corrupt { .. } | ReadError::Io { .. })
    }
}

/// Why a log cannot be opened. Nothing has been changed on disk; none goes away by trying again, except `Locked` and
/// perhaps `Io`.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("{action} {file} failed: {source}", file = file.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        file: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Another process has the data folder open.
    #[error("{file} is locked: another process uses this data folder", file = file.display())]
    Locked {
        /// The lock file.
        file: PathBuf,
    },
    /// Settings that cannot work together.
    #[error("invalid storage settings: {reason}")]
    InvalidOptions {
        /// Which, and why.
        reason: String,
    },
    /// The file was written by a newer version.
    #[error("{file} has format version {found}, this program reads up to {supported}: use a newer one", file = file.display())]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The highest that is understood.
        supported: u32,
    },
    /// The file belongs to another broker group.
    #[error("{file} belongs to group {found}, not to group {expected}", file = file.display())]
    OtherGroup {
        /// The file.
        file: PathBuf,
        /// Its group.
        found: GroupId,
        /// The group that was asked for.
        expected: GroupId,
    },
    /// A small file or a header does not verify.
    #[error("{file} is damaged: {reason}", file = file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A record that was durable is no longer whole. The node must not vote or lead until it is repaired.
    #[error(
        "{file} is damaged at offset {offset}, index {index}: {reason}; entries up to {mark} were durable, so this is \
         corruption and not a torn write",
        file = file.display()
    )]
    Corrupt {
        /// The segment file.
        file: PathBuf,
        /// Where the bad record begins.
        offset: u64,
        /// The index that it has or should have.
        index: LogIndex,
        /// The highest index that is known to have been durable.
        mark: LogIndex,
        /// What does not fit.
        reason: String,
    },
    /// The device cannot read the end of the log, and nothing tells whether it was acknowledged. With
    /// [`cut_unreadable_tail`](super::StorageOptions::cut_unreadable_tail) the log opens without it; the node may then have
    /// forgotten what it acknowledged, and must not decide elections until it knows.
    #[error("{file} cannot be read at offset {offset}, index {index}, the end of the log", file = file.display())]
    UnreadableTail {
        /// The segment file.
        file: PathBuf,
        /// Where the first record begins that cannot be read.
        offset: u64,
        /// The index that it has.
        index: LogIndex,
    },
    /// A record was written under another segment's salt: the header or the file is not the right one.
    #[error("{file} at offset {offset}, index {index}: the record was written under another salt", file = file.display())]
    WrongSalt {
        /// The segment file.
        file: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// Its index.
        index: LogIndex,
    },
    /// A file that must be there is not.
    #[error("{file} is missing: {reason}", file = file.display())]
    Missing {
        /// The file.
        file: PathBuf,
        /// How that is known.
        reason: String,
    },
    /// A segment file is shorter than it was made.
    #[error("{file} is truncated: {bytes} bytes instead of {bytes_expected}", file = file.display())]
    SegmentTruncated {
        /// The segment file.
        file: PathBuf,
        /// Its length.
        bytes: u64,
        /// The length that its header states.
        bytes_expected: u64,
    },
    /// Both copies of the hard state are damaged: the vote is unknown.
    #[error(
        "{file}: both copies of the hard state are damaged (slot A: {slot_a}; slot B: {slot_b}); the node's vote is \
         unknown, so it must not run",
        file = file.display()
    )]
    HardStateDamaged {
        /// The hard state file.
        file: PathBuf,
        /// What is wrong with slot A.
        slot_a: String,
        /// What is wrong with slot B.
        slot_b: String,
    },
    /// The log holds a term that the hard state does not know: the hard state is missing or from an older time.
    #[error("{file}: the log ends with term {log_term}, but the hard state holds {saved:?}", file = file.display())]
    HardStateBehindLog {
        /// The hard state file.
        file: PathBuf,
        /// The last record's term.
        log_term: Term,
        /// The saved term, if any.
        saved: Option<Term>,
    },
}

impl OpenError {
    /// What helps when this error is final for the data folder, as the end of a text; empty when something else helps.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        use OpenError::{
            Corrupt, Damaged, HardStateBehindLog, HardStateDamaged, InvalidOptions, Io, Locked, Missing, NewerFormat,
            OtherGroup, SegmentTruncated, UnreadableTail, WrongSalt,
        };
        match self {
            Corrupt { .. }
            | WrongSalt { .. }
            | Damaged { .. }
            | Missing { .. }
            | SegmentTruncated { .. }
            | HardStateDamaged { .. }
            | HardStateBehindLog { .. } => {
                "; remove this node from the group and let it join under a fresh id with an empty folder"
            }
            Io { .. }
            | Locked { .. }
            | UnreadableTail { .. }
            | InvalidOptions { .. }
            | NewerFormat { .. }
            | OtherGroup { .. } => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_that_is_final_says_what_to_do() {
        let file = PathBuf::from("hard-state");
        let damaged =
            crate::replica::OpenError::from(OpenError::Damaged { file: file.clone(), reason: "bad CRC".to_owned() });
        assert!(damaged.to_string().contains("join under a fresh id"), "{damaged}");
        let identity =
            crate::IdentityError::from(OpenError::Damaged { file: file.clone(), reason: "bad CRC".to_owned() });
        assert!(identity.to_string().contains("join under a fresh id"), "{identity}");
        let locked = crate::replica::OpenError::from(OpenError::Locked { file });
        assert!(!locked.to_string().contains("fresh"), "{locked}");
    }
}
