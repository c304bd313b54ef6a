//! The blocks of a file that the simulated device cannot read.

use crate::env::{BLOCK_BYTES, media_error};
use std::collections::BTreeSet;
use std::io;

/// Numbers of blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct BadBlocks(BTreeSet<u64>);

impl BadBlocks {
    /// The blocks of these bytes are lost.
    pub(super) fn lose(&mut self, offset: u64, bytes: u64) {
        self.0.extend(offset / BLOCK_BYTES..(offset + bytes).div_ceil(BLOCK_BYTES));
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether reading from `start` to `end` meets one.
    pub(super) fn touch(&self, start: usize, end: usize) -> bool {
        start < end && self.0.range(start as u64 / BLOCK_BYTES..(end as u64).div_ceil(BLOCK_BYTES)).next().is_some()
    }

    /// Bytes from `start` to `end` are written: whole blocks are good again. Of one that is written in part the rest would
    /// have to be read.
    ///
    /// # Errors
    /// When there is such a one; nothing is written then.
    pub(super) fn overwrite(&mut self, start: usize, end: usize) -> io::Result<()> {
        let (start, end) = (start as u64, end as u64);
        let within = |block: &u64| block * BLOCK_BYTES >= start && (block + 1) * BLOCK_BYTES <= end;
        let mut touched = self.0.range(start / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES));
        if start < end && touched.any(|block| !within(block)) {
            return Err(media_error());
        }
        self.0.retain(|block| !within(block));
        Ok(())
    }

    /// The file ends here now; blocks behind it are no longer its own.
    pub(super) fn cut(&mut self, length: usize) {
        self.0.retain(|block| block * BLOCK_BYTES < length as u64);
    }

    /// The offset of the first lost byte at or behind `from`.
    pub(super) fn first_from(&self, from: usize) -> Option<usize> {
        let block = *self.0.range(from as u64 / BLOCK_BYTES..).next()?;
        usize::try_from(block * BLOCK_BYTES).ok().map(|offset| offset.max(from))
    }
}
