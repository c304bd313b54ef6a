//! Reading and writing around what the device cannot read.
//!
//! A sector that cannot be read is damage like a flipped bit, only that the device says so (hazards 36): the bytes around
//! it are read as ever, what is lost is repaired from the peers, and writing all of the block makes the drive use another
//! sector for it. So no read error of this kind leaves the log as an error of I/O.

use crate::env::{BLOCK_BYTES, File, is_media_error};
use std::io;
use std::ops::Range;

/// What stands in memory, and at last on disk, in the place of bytes that could not be read: no record, header or copy of a
/// small file verifies with it, and it is not taken for unwritten space.
const LOST_BYTE: u8 = 0xB5;

/// What could not be read of a piece of a file: offsets in the file, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unreadable(Vec<Range<u64>>);

impl Unreadable {
    /// Whether any of these bytes could not be read.
    pub(crate) fn touches(&self, bytes: &Range<u64>) -> bool {
        self.0.iter().any(|lost| lost.start < bytes.end && bytes.start < lost.end)
    }

    /// Where the last of it ends.
    pub(crate) fn end(&self) -> Option<u64> {
        self.0.last().map(|lost| lost.end)
    }

    /// The parts of `bytes` that could be read, ascending.
    pub(crate) fn readable_of(&self, bytes: Range<u64>) -> Vec<Range<u64>> {
        let (mut parts, mut at) = (Vec::new(), bytes.start);
        for lost in self.0.iter().filter(|lost| lost.end > bytes.start && lost.start < bytes.end) {
            if at < lost.start {
                parts.push(at..lost.start);
            }
            at = lost.end;
        }
        if at < bytes.end {
            parts.push(at..bytes.end);
        }
        parts
    }

    fn push(&mut self, lost: Range<u64>) {
        match self.0.last_mut() {
            Some(last) if last.end == lost.start => last.end = lost.end,
            _ => self.0.push(lost),
        }
    }
}

/// Fills `buf` from `offset`, which must lie inside the file, with what can be read, and says what could not.
///
/// # Errors
/// Those that are not the medium's.
pub(crate) fn read_around(file: &dyn File, buf: &mut [u8], offset: u64) -> io::Result<Unreadable> {
    let mut unreadable = Unreadable::default();
    match file.read_exact_at(buf, offset) {
        Err(error) if is_media_error(&error) => {}
        read => return read.map(|()| unreadable),
    }
    let end = offset + buf.len() as u64;
    let mut at = offset;
    while at < end {
        let block_end = (at - at % BLOCK_BYTES + BLOCK_BYTES).min(end);
        let place = |offset_in_file: u64| usize::try_from(offset_in_file - offset).expect("inside the buffer");
        let piece = &mut buf[place(at)..place(block_end)];
        match file.read_exact_at(piece, at) {
            Err(error) if is_media_error(&error) => {
                piece.fill(LOST_BYTE);
                unreadable.push(at..block_end);
            }
            read => read?,
        }
        at = block_end;
    }
    Ok(unreadable)
}

/// Writes `bytes` at `offset`, also where blocks at their edges cannot be read. What cannot be read of such a block is lost
/// already, and is written as lost.
pub(crate) fn write_over(file: &dyn File, bytes: &[u8], offset: u64) -> io::Result<()> {
    match file.write_all_at(bytes, offset) {
        Err(error) if is_media_error(&error) => {}
        written => return written,
    }
    let end = offset + bytes.len() as u64;
    let (first, last) =
        (offset - offset % BLOCK_BYTES, end.next_multiple_of(BLOCK_BYTES).min(file.byte_len()?.max(end)));
    let length = |range: Range<u64>| usize::try_from(range.end - range.start).expect("fits into memory");
    let mut whole = vec![LOST_BYTE; length(first..last)];
    let (before, after) = (length(first..offset), length(end..last));
    read_around(file, &mut whole[..before], first)?;
    let from = whole.len() - after;
    read_around(file, &mut whole[from..], end)?;
    whole[before..from].copy_from_slice(bytes);
    file.write_all_at(&whole, first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::SimDisk;
    use crate::env::{Disk as _, OpenMode};
    use std::path::Path;
    use std::sync::Arc;

    fn file(disk: &SimDisk, bytes: usize) -> Arc<dyn File> {
        disk.create_dir_all(Path::new("/d")).unwrap();
        let file = disk.open(Path::new("/d/f"), OpenMode::CreateNew).unwrap();
        file.write_all_at(&vec![7; bytes], 0).unwrap();
        file
    }

    #[test]
    fn all_but_the_lost_blocks_is_read_and_they_are_named() {
        let disk = SimDisk::new();
        let file = file(&disk, 20_000);
        let mut buf = vec![0; 15_000];
        assert_eq!(read_around(file.as_ref(), &mut buf, 1_000).unwrap(), Unreadable::default());
        disk.lose_blocks(Path::new("/d/f"), 4_096, 4_097);
        let unreadable = read_around(file.as_ref(), &mut buf, 1_000).unwrap();
        assert_eq!(unreadable.readable_of(0..20_000), [0..4_096, 12_288..20_000]);
        assert_eq!(unreadable.readable_of(5_000..6_000), []);
        assert!(unreadable.touches(&(4_000..4_097)) && !unreadable.touches(&(12_288..13_000)));
        let lost = |at: usize| (4_096..12_288).contains(&(at + 1_000));
        assert!(buf.iter().enumerate().all(|(at, byte)| *byte == if lost(at) { LOST_BYTE } else { 7 }));
    }

    // The write is not aligned, so the blocks at its edges are read first; what is good in them must stay.
    #[test]
    fn a_write_into_lost_blocks_makes_them_whole_and_harms_nothing_around() {
        let disk = SimDisk::new();
        let file = file(&disk, 20_000);
        disk.lose_blocks(Path::new("/d/f"), 4_096, 1);
        assert!(file.write_all_at(&[9; 6_000], 5_000).is_err());
        write_over(file.as_ref(), &[9; 6_000], 5_000).unwrap();
        let mut buf = vec![0; 20_000];
        file.read_exact_at(&mut buf, 0).unwrap();
        let expected = |at: usize| match at {
            4_096..5_000 => LOST_BYTE,
            5_000..11_000 => 9,
            _ => 7,
        };
        assert!(buf.iter().enumerate().all(|(at, byte)| *byte == expected(at)));
    }
}
