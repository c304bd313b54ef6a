//! Which segment files there are, against those that the manifest says there must be.

use crate::env::{Env, File, OpenMode};
use crate::storage::format::{HeaderCopy, SEGMENT_HEADER_BYTES, Salt, SegmentHeader};
use crate::storage::io::Prepared;
use crate::storage::manifest::{Listed, Made, Manifest};
use crate::storage::media::read_around;
use crate::storage::segment::Segment;
use crate::storage::sidecar::Sidecar;
use crate::storage::{OpenError, StorageOptions};
use crate::types::{GroupId, LogIndex};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of the log's folder, sorted out.
#[derive(Default)]
pub(super) struct Files {
    /// The segments of the log, ascending.
    pub(super) segments: Vec<Arc<Segment>>,
    /// Files to remove: temporary ones, indexes of nothing, and segments that were released, or that a truncation under way takes away.
    pub(super) leftovers: Vec<PathBuf>,
    /// Segments of whose header one copy is damaged, and what to write where.
    pub(super) headers_to_mend: Vec<(Arc<Segment>, HeaderCopy)>,
    /// Files of released segments, to be used again.
    pub(super) spares: Vec<Prepared>,
}

/// Opens every segment's header in `folder`; changes nothing.
pub(super) fn open_all(
    env: &Env,
    folder: &Path,
    options: &StorageOptions,
    manifest: &Manifest,
) -> Result<Files, OpenError> {
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
            None if Sidecar::base_of_name(&name).is_some() => {
                let base = Sidecar::base_of_name(&name);
                if !manifest.segments.iter().any(|listed| Some(listed.base) == base) {
                    files.leftovers.push(folder.join(name));
                }
            }
            None if Segment::is_spare_name(&name) => files.sort_spare(env, folder.join(name), options),
            None => tracing::warn!(file = %folder.join(name).display(), "a file that is not the log's; left alone"),
        }
    }
    for listed in &manifest.segments {
        if !found.contains(&listed.base) {
            let reason = "the manifest lists it as a segment of the log".into();
            return Err(OpenError::Missing { file: folder.join(Segment::name(listed.base)), reason });
        }
    }
    for base in found {
        let path = folder.join(Segment::name(base));
        let listed = manifest.segments.iter().find(|listed| listed.base == base);
        if listed.is_none() {
            let truncated = manifest.truncating.is_some_and(|first_removed| base >= first_removed);
            if truncated || base < manifest.start() {
                files.leftovers.push(path);
                continue;
            }
            if manifest.segments.last().is_some_and(|last| base < last.base) {
                let reason = "it lies between the segments that the manifest lists, but is not one of them".into();
                return Err(OpenError::Damaged { file: path, reason });
            }
        }
        let (segment, mend) = open(env, path, base, options.group, listed)?;
        if let Some(salt) = listed.and_then(|listed| listed.salt)
            && salt != segment.salt
        {
            let reason = "its header carries another salt than the manifest lists: it is the header of another file";
            return Err(OpenError::Damaged { file: segment.path, reason: reason.into() });
        }
        let segment = Arc::new(segment);
        files.headers_to_mend.extend(mend.map(|copy| (segment.clone(), copy)));
        files.segments.push(segment);
    }
    Ok(files)
}

impl Files {
    /// Keeps a file that waits to be used again, if it is of use.
    fn sort_spare(&mut self, env: &Env, path: PathBuf, options: &StorageOptions) {
        let bytes = options.segment_bytes_max;
        match former_life(env, &path, options) {
            Some((file, salt)) if self.spares.len() < options.spare_segments_max => {
                self.spares.push(Prepared { path, file, bytes, former: Some(salt) });
            }
            _ => self.leftovers.push(path),
        }
    }
}

/// The file and the salt of a released segment, if it is as long as a new one. Nothing is lost with one that cannot be
/// read.
fn former_life(env: &Env, path: &Path, options: &StorageOptions) -> Option<(Arc<dyn File>, Salt)> {
    let file = env.disk.open(path, OpenMode::ReadWrite).ok()?;
    let mut head = vec![0; usize::try_from(SEGMENT_HEADER_BYTES).expect("a constant that fits")];
    file.read_exact_at(&mut head, 0).ok()?;
    let header = SegmentHeader::decode(&head, path, options.group).ok()?;
    (file.byte_len().ok()? == options.segment_bytes_max).then_some((file, header.salt))
}

/// Opens the segments of the log in `folder`, without looking at their records.
pub(crate) fn open_segments(
    env: &Env,
    folder: &Path,
    options: &StorageOptions,
    manifest: &Manifest,
) -> Result<Vec<Arc<Segment>>, OpenError> {
    Ok(open_all(env, folder, options, manifest)?.segments)
}

/// Opens a segment; gives the copy of its header that must be written anew, if one is damaged.
fn open(
    env: &Env,
    path: PathBuf,
    base: LogIndex,
    group: GroupId,
    listed: Option<&Listed>,
) -> Result<(Segment, Option<HeaderCopy>), OpenError> {
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
    let unreadable = read_around(file.as_ref(), &mut head, 0).map_err(io_error("reading"))?;
    let decoded = match SegmentHeader::decode(&head, &path, group) {
        // Only what the device cannot read is believed to have been there: a file that reads as zeroes is no segment.
        Err(damaged @ OpenError::Damaged { .. }) if unreadable.end().is_some() => {
            let header = listed.and_then(|listed| header_of(listed, group, bytes)).ok_or(damaged)?;
            tracing::error!(file = %path.display(), "the header of a segment cannot be read; it is written anew from the manifest");
            Ok((header, Some(header.mend_all())))
        }
        decoded => decoded.map(|header| (header, SegmentHeader::mend(&head, &path))),
    };
    let (header, mend) = decoded?;
    if header.base != base {
        let reason = format!("its header says that it begins with index {}", header.base);
        return Err(OpenError::Damaged { file: path, reason });
    }
    if bytes < header.file_bytes {
        return Err(OpenError::SegmentTruncated { file: path, bytes, bytes_expected: header.file_bytes });
    }
    Ok((Segment::new(path, file, &header), mend))
}

/// The header of a listed segment whose file has `file_bytes` bytes, if all of it is known.
fn header_of(listed: &Listed, group: GroupId, file_bytes: u64) -> Option<SegmentHeader> {
    let Made { base_offset, created, recycled } = listed.made?;
    let Listed { base, salt, .. } = *listed;
    Some(SegmentHeader { group, base, base_offset, salt: salt?, file_bytes, created, recycled })
}
