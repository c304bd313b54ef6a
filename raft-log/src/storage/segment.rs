//! One segment file: who it is, and the three steps from an empty file to a segment of the log.

use super::format::{SEGMENT_HEADER_BYTES, Salt, SegmentHeader};
use crate::env::File;
use crate::types::{LogIndex, UnixMillis};
use bytes::Bytes;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// How many digits a segment's name has, so that names sort as numbers do.
const NAME_DIGITS: usize = 20;
const NAME_END: &str = ".seg";

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
    /// The whole file as memory, once it is sealed and somebody read it so.
    map: OnceLock<Option<Bytes>>,
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
            map: OnceLock::new(),
        }
    }

    /// The file's name for a base index.
    pub(crate) fn name(base: LogIndex) -> String {
        format!("{:0NAME_DIGITS$}{NAME_END}", base.0)
    }

    /// The base index in a segment's name; `None` if the name is not a segment's.
    pub(crate) fn base_of_name(name: &str) -> Option<LogIndex> {
        let digits = name.strip_suffix(NAME_END)?;
        if digits.len() != NAME_DIGITS {
            return None;
        }
        digits.parse().ok().map(LogIndex)
    }

    /// The whole file as shared memory; only for a sealed segment, whose payloads are never written again.
    pub(crate) fn mapped(&self) -> io::Result<Option<Bytes>> {
        if let Some(map) = self.map.get() {
            return Ok(map.clone());
        }
        let map = self.file.map(self.file_bytes)?;
        Ok(self.map.get_or_init(|| map).clone())
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
