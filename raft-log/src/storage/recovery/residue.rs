//! What lies behind the last good record of the newest segment.
//!
//! A torn write may have left later sectors without earlier ones (hazards 3), so the rest of the file is looked at: for
//! durable marks in intact headers, which prove that what is missing before them was durable, and for anything that must
//! be zeroed before the log goes on.
//!
//! What the device cannot read is not zero: it is zeroed, so that what is written there next does not fail (hazards 36).
//!
//! In a recycled segment, what is not zero proves nothing: only headers under its own salt count there, and it is
//! read as far as the log can have come since its index was saved. Otherwise space that was never written is skipped. A torn
//! write ends within [`StorageOptions::unsynced_reach`], so that much is read as a whole. Behind it the file is probed here and there, because reading a gigabyte of zeroes at each start would keep a node away for seconds; if a
//! probe finds anything (a large hole in the middle of durable records), all of the file is read after all.

use crate::storage::StorageOptions;
use crate::storage::format::{RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES, RecordHeader};
use crate::storage::media::read_around;
use crate::storage::segment::Segment;
use crate::types::LogIndex;
use std::io;

/// How much is read at once; a multiple of the alignment.
const CHUNK_BYTES: usize = 1 << 20;
/// How much a probe reads.
const PROBE_BYTES: usize = 4_096;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Residue {
    /// The offset up to which there is something to zero: after the last byte that is not zero, or, in a recycled
    /// segment, after the last own header, or after the last block that cannot be read.
    pub(super) end_offset: Option<u64>,
    /// The highest durable mark in an intact header, exclusive; `None` without any such header.
    pub(super) mark_end: Option<LogIndex>,
}

/// Looks at `segment` from `start` to the end of the file; in a recycled one only up to `recycled_end`.
pub(super) fn look(segment: &Segment, start: u64, recycled_end: u64, options: &StorageOptions) -> io::Result<Residue> {
    assert_eq!(start % RECORD_ALIGN_BYTES, 0, "records are aligned");
    let mut residue = Residue::default();
    let mut chunk = vec![0; CHUNK_BYTES + RECORD_HEADER_BYTES];
    let mut at = next_data(segment, start)?;
    let window_end = start + options.unsynced_reach();
    let file_end = if segment.recycled { recycled_end } else { segment.file_bytes };
    while at < file_end {
        if at >= window_end && !segment.recycled && !probe_finds_something(segment, at, options.sizes.probe_spacing)? {
            break;
        }
        let left = usize::try_from(segment.file_bytes - at).unwrap_or(usize::MAX);
        let read = &mut chunk[..left.min(CHUNK_BYTES + RECORD_HEADER_BYTES)];
        let unreadable = read_around(segment.file.as_ref(), read, at)?;
        let own = &read[..read.len().min(CHUNK_BYTES)];
        if let Some(last) = last_nonzero(own) {
            let headers = own_headers(segment, read, at);
            residue.mark_end = residue.mark_end.max(headers.highest_mark);
            let end = if segment.recycled { headers.end_offset } else { Some(at + last as u64 + 1) };
            residue.end_offset = end.max(unreadable.end()).or(residue.end_offset);
        }
        at = next_data(segment, at + CHUNK_BYTES as u64)?;
    }
    Ok(residue)
}

/// Where to look on from `at`: space that was never written is skipped.
fn next_data(segment: &Segment, at: u64) -> io::Result<u64> {
    if at >= segment.file_bytes {
        return Ok(at);
    }
    let data = segment.file.next_data(at)?;
    Ok(at.max(data - data % RECORD_ALIGN_BYTES))
}

/// Whether any probe from `start` on meets a byte that is not zero.
fn probe_finds_something(segment: &Segment, start: u64, spacing_bytes: u64) -> io::Result<bool> {
    let mut block = [0; PROBE_BYTES];
    let mut at = start;
    while at < segment.file_bytes {
        let left = usize::try_from(segment.file_bytes - at).unwrap_or(usize::MAX).min(PROBE_BYTES);
        read_around(segment.file.as_ref(), &mut block[..left], at)?;
        if last_nonzero(&block[..left]).is_some() {
            return Ok(true);
        }
        at = next_data(segment, at + spacing_bytes)?;
    }
    Ok(false)
}

/// The position of the last byte that is not zero. Whole zero blocks, the usual case, are skipped fast.
fn last_nonzero(bytes: &[u8]) -> Option<usize> {
    let block_bytes = 4_096;
    for (block, content) in bytes.chunks(block_bytes).enumerate().rev() {
        if content.iter().fold(0, |all, byte| all | byte) != 0 {
            let inside = content.iter().rposition(|byte| *byte != 0).expect("some byte is not zero");
            return Some(block * block_bytes + inside);
        }
    }
    None
}

/// The intact headers of this life of the file in a piece of it.
#[derive(Default)]
struct OwnHeaders {
    highest_mark: Option<LogIndex>,
    /// Where the last of them ends.
    end_offset: Option<u64>,
}

fn own_headers(segment: &Segment, bytes: &[u8], start: u64) -> OwnHeaders {
    let mut found = OwnHeaders::default();
    let align = usize::try_from(RECORD_ALIGN_BYTES).expect("a constant that fits");
    for (position, window) in bytes.windows(RECORD_HEADER_BYTES).enumerate().step_by(align) {
        let offset = start + position as u64;
        // The own offset is compared first: it rules out nearly every position without computing a CRC.
        if window[24..32] != offset.to_le_bytes() {
            continue;
        }
        let header = window.try_into().expect("as long as a header");
        if let Ok(header) = RecordHeader::decode(header, segment.salt, offset) {
            found.highest_mark = found.highest_mark.max(Some(header.durable_end));
            found.end_offset = Some(offset + RECORD_HEADER_BYTES as u64);
        }
    }
    found
}
