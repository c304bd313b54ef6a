//! The bytes that fill a hole exactly.
//!
//! ```text
//!   before:   … good │ ????????????????????????????? │ good …
//!   after:    … good │ entry │ entry │ mark │ mark    │ good …
//! ```
//! What lay there were the lost entries and durable marks, in an order that is no longer known. The entries have the
//! lengths that they have on every replica (hazards 6), so what they leave is a whole number of marks. They are encoded
//! under this segment's salt and for their places here; payload and CRC are as received.

use super::Lost;
use crate::storage::format::record_header::stride_of;
use crate::storage::format::{RECORD_HEADER_BYTES, RecordHeader, Salt};
use crate::storage::record::Record;
use crate::types::{LogId, LogIndex};

/// The entries do not fill the hole: they are not those that were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the peers hold does not fit into the {hole_bytes} bytes that are damaged")]
pub(crate) struct NoFit {
    pub(crate) hole_bytes: u64,
}

/// The bytes for the hole of `lost`, made of its entries; of a large hole only those from the first on, which leaves a
/// smaller hole behind them.
pub(crate) fn fill(lost: &Lost, records: &[Record], salt: Salt) -> Result<Vec<u8>, NoFit> {
    let hole = &lost.hole;
    let hole_bytes = hole.end_offset - hole.offset;
    let indexes = records.iter().map(|record| record.id.index.0);
    assert!(
        indexes.eq((hole.first.0..hole.end.0).take(records.len())),
        "lost entries from the first on, and no others"
    );
    let no_fit = NoFit { hole_bytes };
    let mut filling =
        Filling { bytes: Vec::new(), start: hole.offset, salt, last: lost.before, durable_end: hole.first };
    for record in records {
        filling.entry(record);
        if filling.at() > hole.end_offset {
            return Err(no_fit);
        }
    }
    if hole.first.0 + records.len() as u64 == hole.end.0 {
        filling.marks_up_to(hole.end_offset).ok_or(no_fit)?;
        assert_eq!(filling.bytes.len() as u64, hole_bytes, "a hole is filled exactly");
    }
    Ok(filling.bytes)
}

struct Filling {
    bytes: Vec<u8>,
    start: u64,
    salt: Salt,
    /// The entry before the next record.
    last: Option<LogId>,
    /// What is before the hole was durable; of what is in it that will be said by later writes.
    durable_end: LogIndex,
}

impl Filling {
    fn at(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn entry(&mut self, record: &Record) {
        let header = RecordHeader::of_record(record, self.at(), self.durable_end);
        let end = self.bytes.len() + usize::try_from(header.stride()).expect("a record fits into memory");
        self.bytes.extend_from_slice(&header.encode(self.salt));
        self.bytes.extend_from_slice(&record.payload);
        self.bytes.resize(end, 0);
        self.last = Some(record.id);
    }

    /// Marks up to `offset`; `None` if no whole number of them leads there.
    fn marks_up_to(&mut self, offset: u64) -> Option<()> {
        let gap = offset.checked_sub(self.at())?;
        if gap % stride_of(0) != 0 {
            return None;
        }
        while self.at() < offset {
            let last = self.last?;
            // The entry before may be another than the one that the hole follows; what is written then is not read back as good.
            let durable_end = self.durable_end.min(last.index.next());
            let header = RecordHeader::of_mark(last, self.at(), durable_end);
            assert_eq!(header.stride(), RECORD_HEADER_BYTES as u64, "a mark is a header alone");
            self.bytes.extend_from_slice(&header.encode(self.salt));
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::survey::{BadRecord, Hole};
    use crate::types::{LogIndex, Term};

    #[test]
    fn a_hole_of_marks_is_filled_whatever_entry_is_known_before_it() {
        let hole = Hole {
            offset: 4_096,
            end_offset: 4_096 + 2 * stride_of(0),
            first: LogIndex(9),
            end: LogIndex(9),
            anchor: None,
            bad: BadRecord::Mark,
        };
        for (before, fits) in [(Some(8), true), (Some(5), true), (None, false)] {
            let before = before.map(|index| LogId { term: Term(1), index: LogIndex(index) });
            let lost = Lost { base: LogIndex(0), hole: hole.clone(), before };
            assert_eq!(fill(&lost, &[], Salt(7)).is_ok(), fits, "{before:?}");
        }
    }
}
