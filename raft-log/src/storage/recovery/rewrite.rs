//! Writing again what may never have reached the disk.
//!
//! After a failed fsync Linux counts the pages as clean: they stay readable, a later fsync succeeds, and nothing was
//! written. A process that starts again reads such records from the page cache and takes them for good; syncing them
//! changes nothing, and the next loss of power takes them although they were acknowledged. So everything above the
//! durable mark is written once more before it is synced. These are the bytes that were read: on a disk that holds them
//! already nothing changes, whatever part of this a crash cuts off.

use crate::storage::catalog::Placed;
use crate::storage::format::SEGMENT_HEADER_BYTES;
use crate::storage::media::read_around;
use crate::types::LogIndex;
use std::io;

/// How much is read and written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Writes everything behind the last durable record again, from the nearest place before it that the segment's index
/// knows. That includes the marks behind the last entry: one that is lost leaves a gap in front of what follows it.
pub(super) fn rewrite(placed: &Placed, marked_end: LogIndex) -> io::Result<()> {
    let file = placed.segment.file.as_ref();
    let last_durable = LogIndex(marked_end.min(placed.end).0.saturating_sub(1));
    let mut at = placed.positions.floor(last_durable).map_or(SEGMENT_HEADER_BYTES, |position| position.offset);
    let mut chunk = Vec::new();
    while at < placed.end_offset {
        let bytes = usize::try_from(placed.end_offset - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        chunk.resize(bytes, 0);
        let end = at + bytes as u64;
        // What the device cannot read here lies before the last durable record, and is repaired when it is met.
        for part in read_around(file, &mut chunk, at)?.readable_of(at..end) {
            let place = |offset: u64| usize::try_from(offset - at).expect("inside the chunk");
            file.write_all_at(&chunk[place(part.start)..place(part.end)], part.start)?;
        }
        at = end;
    }
    Ok(())
}
