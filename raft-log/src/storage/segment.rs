//! One segment file: who it is, and the three steps from an empty file to a segment of the log.

use super::format::{HeaderFault, SEGMENT_HEADER_BYTES, Salt, SegmentHeader};
use super::manifest::{Listed, Made};
use crate::env::File;
use crate::exec::sync::{Mutex, MutexGuard};
use crate::types::{LogIndex, UnixMillis};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many digits a segment's name has, so that names sort as numbers do.
const NAME_DIGITS: usize = 20;
const NAME_END: &str = ".seg";
const SPARE_EXTENSION: &str = "spare";

/// A segment file. Its identity never changes; its bytes are written by the I/O thread alone.
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    /// The index of the first entry.
    pub(crate) base: LogIndex,
    /// Bytes of records in the log before this segment.
    pub(crate) base_offset: u64,
    pub(crate) salt: Salt,
    /// Length of the file.
    pub(crate) file_bytes: u64,
    /// When it was made; unknown for one of the first format version.
    pub(crate) created: Option<UnixMillis>,
    /// Behind the records lie those of an earlier life of the file.
    pub(crate) recycled: bool,
    /// Held by who syncs the records, until the log has failed if the sync did (see `Shared::sync`).
    sync_turn: Mutex<()>,
}

impl Segment {
    pub(crate) fn new(path: PathBuf, file: Arc<dyn File>, header: &SegmentHeader) -> Segment {
        Segment {
            path,
            file,
            base: header.base,
            base_offset: header.base_offset,
            salt: header.salt,
            file_bytes: header.file_bytes,
            created: header.created,
            recycled: header.recycled,
            sync_turn: Mutex::default(),
        }
    }

    /// One sync of the records at a time.
    pub(crate) fn sync_turn(&self) -> MutexGuard<'_, ()> {
        self.sync_turn.lock().expect("no thread panics while it syncs")
    }

    /// The file's name for a base index.
    pub(crate) fn name(base: LogIndex) -> String {
        format!("{:0NAME_DIGITS$}{NAME_END}", base.0)
    }

    /// Whether bytes that are no header for this reason are what must lie behind the last record: unwritten space, or in
    /// a recycled file whatever an earlier life left there.
    pub(crate) fn may_hold_behind_its_end(&self, fault: HeaderFault) -> bool {
        match fault {
            HeaderFault::Unwritten => true,
            HeaderFault::Crc | HeaderFault::Unreadable | HeaderFault::OtherSalt { .. } => self.recycled,
            HeaderFault::Newer { .. } | HeaderFault::UnknownKind { .. } | HeaderFault::Moved { .. } => false,
        }
    }

    /// The name of the file when it waits to be used again.
    pub(crate) fn spare_path(&self) -> PathBuf {
        self.path.with_extension(SPARE_EXTENSION)
    }

    /// Whether a file waits to be used again.
    pub(crate) fn is_spare_name(name: &str) -> bool {
        Path::new(name).extension().is_some_and(|extension| extension == SPARE_EXTENSION)
    }

    /// The base index in a segment's name; `None` if the name is not a segment's.
    pub(crate) fn base_of_name(name: &str) -> Option<LogIndex> {
        let digits = name.strip_suffix(NAME_END)?;
        if digits.len() != NAME_DIGITS {
            return None;
        }
        digits.parse().ok().map(LogIndex)
    }

    /// The file, if nobody else holds it or the segment: only then may it be written anew.
    pub(crate) fn into_sole_file(segment: Arc<Segment>) -> Option<Arc<dyn File>> {
        let file = Arc::into_inner(segment)?.file;
        (Arc::strong_count(&file) == 1).then_some(file)
    }

    /// As the manifest lists it.
    pub(crate) fn listed(&self) -> Listed {
        let made = Made { base_offset: self.base_offset, created: self.created, recycled: self.recycled };
        Listed { base: self.base, salt: Some(self.salt), made: Some(made) }
    }

    /// Where the log continues behind this segment if it ends at `end_offset` of the file.
    pub(crate) fn next_base_offset(&self, end_offset: u64) -> u64 {
        self.base_offset + (end_offset - SEGMENT_HEADER_BYTES)
    }

    /// The folder of the segment.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().expect("a segment lies in a folder")
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segment({})", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_numbers_and_come_back() {
        assert_eq!(Segment::name(LogIndex(42)), "00000000000000000042.seg");
        assert!(Segment::name(LogIndex(9)) < Segment::name(LogIndex(10)));
        assert_eq!(Segment::base_of_name(&Segment::name(LogIndex(u64::MAX))), Some(LogIndex(u64::MAX)));
        assert_eq!(Segment::base_of_name("next.tmp"), None);
        assert_eq!(Segment::base_of_name("42.seg"), None);
    }
}
