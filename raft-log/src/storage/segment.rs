//! One segment file: who it is, and the three steps from an empty file to a segment of the log.

use super::format::{HeaderFault, SEGMENT_HEADER_BYTES, Salt, SegmentHeader};
use super::manifest::Listed;
use crate::env::File;
use crate::types::{LogIndex, UnixMillis};
use bytes::Bytes;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

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
    /// The whole file as memory, once it is sealed and somebody read it so.
    map: OnceLock<Option<Mapping>>,
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
            map: OnceLock::new(),
        }
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
            HeaderFault::Crc | HeaderFault::OtherSalt { .. } => self.recycled,
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

    /// The whole file as shared memory; only for a sealed segment, whose payloads are never written again.
    pub(crate) fn mapped(&self) -> io::Result<Option<Bytes>> {
        if let Some(map) = self.map.get() {
            return Ok(map.as_ref().map(|map| map.bytes.clone()));
        }
        let map = self.file.map(self.file_bytes)?;
        let map = self.map.get_or_init(|| map.map(Mapping::new));
        Ok(map.as_ref().map(|map| map.bytes.clone()))
    }

    /// The file, if nobody else holds it, the segment or a piece of its memory: only then may it be written anew.
    pub(crate) fn into_sole_file(segment: Arc<Segment>) -> Option<Arc<dyn File>> {
        let segment = Arc::into_inner(segment)?;
        if let Some(Some(map)) = segment.map.into_inner()
            && !map.nobody_else_holds_it()
        {
            return None;
        }
        let file = segment.file;
        (Arc::strong_count(&file) == 1).then_some(file)
    }

    /// As the manifest lists it.
    pub(crate) fn listed(&self) -> Listed {
        Listed { base: self.base, salt: Some(self.salt) }
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

/// A file as memory, which knows whether pieces of it are still held.
struct Mapping {
    bytes: Bytes,
    held: Arc<()>,
}

/// What all pieces keep alive.
struct Owner {
    map: Bytes,
    _held: Arc<()>,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Mapping {
    fn new(map: Bytes) -> Mapping {
        let held = Arc::new(());
        Mapping { bytes: Bytes::from_owner(Owner { map, _held: held.clone() }), held }
    }

    fn nobody_else_holds_it(self) -> bool {
        drop(self.bytes);
        Arc::into_inner(self.held).is_some()
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
    fn memory_is_sole_when_the_last_piece_is_gone() {
        let map = || Mapping::new(Bytes::from(vec![7; 100]));
        assert!(map().nobody_else_holds_it());
        let held = map();
        let piece = held.bytes.slice(3..5);
        assert!(!held.nobody_else_holds_it());
        assert_eq!(piece, [7, 7][..]);
        let freed = map();
        drop(freed.bytes.slice(3..5));
        assert!(freed.nobody_else_holds_it());
    }

    #[test]
    fn names_sort_as_numbers_and_come_back() {
        assert_eq!(Segment::name(LogIndex(42)), "00000000000000000042.seg");
        assert!(Segment::name(LogIndex(9)) < Segment::name(LogIndex(10)));
        assert_eq!(Segment::base_of_name(&Segment::name(LogIndex(u64::MAX))), Some(LogIndex(u64::MAX)));
        assert_eq!(Segment::base_of_name("next.tmp"), None);
        assert_eq!(Segment::base_of_name("42.seg"), None);
    }
}
