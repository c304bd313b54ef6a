//! Which segment files there are, against those that the manifest says there must be.

use crate::env::Env;
use crate::env::OpenMode;
use crate::storage::OpenError;
use crate::storage::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::storage::manifest::Manifest;
use crate::storage::segment::Segment;
use crate::types::{GroupId, LogIndex};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of the log's folder, sorted out.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The segments of the log, ascending.
    pub(super) segments: Vec<Arc<Segment>>,
    /// Files to remove: temporary ones, and segments that were released, or that a truncation under way takes away.
    pub(super) leftovers: Vec<PathBuf>,
}

/// Opens every segment's header in `folder`; changes nothing.
pub(super) fn open_all(env: &Env, folder: &Path, group: GroupId, manifest: &Manifest) -> Result<Files, OpenError> {
    let io_error = |action, file: &Path| {
        let file = file.to_path_buf();
        move |source| OpenError::Io { action, file, source }
    };
    let mut files = Files::default();
    let mut found = Vec::new();
    for name in env.disk.list(folder).map_err(io_error("listing", folder))? {
        match Segment::base_of_name(&name) {
            Some(base) => found.push(base),
            None if name.ends_with(".tmp") => files.leftovers.push(folder.join(name)),
            None => tracing::warn!(file = %folder.join(name).display(), "a file that is not the log's; left alone"),
        }
    }
    for base in &manifest.segments {
        if !found.contains(base) {
            let reason = "the manifest lists it as a segment of the log".into();
            return Err(OpenError::Missing { file: folder.join(Segment::name(*base)), reason });
        }
    }
    for base in found {
        let path = folder.join(Segment::name(base));
        if !manifest.segments.contains(&base) {
            let truncated = manifest.truncating.is_some_and(|first_removed| base >= first_removed);
            if truncated || base < manifest.start() {
                files.leftovers.push(path);
                continue;
            }
            if manifest.segments.last().is_some_and(|last| base < *last) {
                let reason = "it lies between the segments that the manifest lists, but is not one of them".into();
                return Err(OpenError::Damaged { file: path, reason });
            }
        }
        files.segments.push(Arc::new(open(env, path, base, group)?));
    }
    Ok(files)
}

fn open(env: &Env, path: PathBuf, base: LogIndex, group: GroupId) -> Result<Segment, OpenError> {
    let io_error = |action| {
        let file = path.clone();
        move |source| OpenError::Io { action, file, source }
    };
    let file = env.disk.open(&path, OpenMode::ReadWrite).map_err(io_error("opening"))?;
    let bytes = file.byte_len().map_err(io_error("measuring"))?;
    if bytes < SEGMENT_HEADER_BYTES {
        return Err(OpenError::SegmentTruncated { file: path, bytes, bytes_expected: SEGMENT_HEADER_BYTES });
    }
    let mut head = vec![0; usize::try_from(SEGMENT_HEADER_BYTES).expect("a constant that fits")];
    file.read_exact_at(&mut head, 0).map_err(io_error("reading"))?;
    let header = SegmentHeader::decode(&head, &path, group)?;
    if header.base != base {
        let reason = format!("its header says that it begins with index {}", header.base);
        return Err(OpenError::Damaged { file: path, reason });
    }
    if bytes < header.file_bytes {
        return Err(OpenError::SegmentTruncated { file: path, bytes, bytes_expected: header.file_bytes });
    }
    Ok(Segment::new(path, file, &header))
}
