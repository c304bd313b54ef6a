//! Where the entries of one segment lie: a sparse index.
//!
//! One position is kept for about each 16 KiB of file; a reader starts at the nearest one below and walks the record
//! headers. So the index of a full 1 GiB segment takes at most 1 MiB of memory, however small the records are.

use crate::types::LogIndex;

/// The file bytes between two kept positions, at least.
pub(crate) const SPACING_BYTES: u32 = 16 << 10;

/// Where one entry's record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) index: LogIndex,
    pub(crate) offset: u64,
}

/// The sparse index of one segment, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Positions {
    base: LogIndex,
    /// (index - base, offset in the file).
    kept: Vec<(u32, u32)>,
}

impl Positions {
    pub(crate) fn new(base: LogIndex) -> Positions {
        Positions { base, kept: Vec::new() }
    }

    /// (index - base, offset) of what is kept.
    pub(crate) fn kept(&self) -> &[(u32, u32)] {
        &self.kept
    }

    /// The index that [`Positions::kept`] was taken from, of entries before `end`; `None` if it cannot be.
    pub(crate) fn from_kept(base: LogIndex, kept: Vec<(u32, u32)>, end: Position) -> Option<Positions> {
        let ascending = kept.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1);
        let last = *kept.last()?;
        let inside = base.0 + u64::from(last.0) < end.index.0 && u64::from(last.1) < end.offset;
        (ascending && inside && kept.first()?.0 == 0).then_some(Positions { base, kept })
    }

    /// Notes where an entry begins; entries come in ascending order.
    pub(crate) fn note(&mut self, position: Position) {
        let offset = u32::try_from(position.offset).expect("a segment is at most 4 GiB");
        if let Some((_, last)) = self.kept.last() {
            assert!(*last < offset, "entries are noted in order");
            if offset - last < SPACING_BYTES {
                return;
            }
        }
        let relative = position.index.0.checked_sub(self.base.0).expect("an entry is not below its segment's base");
        self.kept.push((u32::try_from(relative).expect("a segment holds fewer records than bytes"), offset));
    }

    /// The nearest kept position at or below `index`.
    pub(crate) fn floor(&self, index: LogIndex) -> Option<Position> {
        let relative = index.0.checked_sub(self.base.0)?;
        let after = self.kept.partition_point(|(kept, _)| u64::from(*kept) <= relative);
        let (kept, offset) = *self.kept.get(after.checked_sub(1)?)?;
        Some(Position { index: LogIndex(self.base.0 + u64::from(kept)), offset: u64::from(offset) })
    }

    /// The nearest kept position above `index`.
    pub(crate) fn above(&self, index: LogIndex) -> Option<Position> {
        let relative = index.0.checked_sub(self.base.0)?;
        let after = self.kept.partition_point(|(kept, _)| u64::from(*kept) <= relative);
        let (kept, offset) = *self.kept.get(after)?;
        Some(Position { index: LogIndex(self.base.0 + u64::from(kept)), offset: u64::from(offset) })
    }

    /// The first kept position at or behind `offset`.
    pub(crate) fn behind(&self, offset: u64) -> Option<Position> {
        let (kept, found) = *self.kept.get(self.kept.partition_point(|(_, kept)| u64::from(*kept) < offset))?;
        Some(Position { index: LogIndex(self.base.0 + u64::from(kept)), offset: u64::from(found) })
    }

    /// Forgets `first_removed` and all entries after it.
    pub(crate) fn truncate(&mut self, first_removed: LogIndex) {
        let relative = first_removed.0.saturating_sub(self.base.0);
        let keep = self.kept.partition_point(|(kept, _)| u64::from(*kept) < relative);
        self.kept.truncate(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(index: u64, offset: u64) -> Position {
        Position { index: LogIndex(index), offset }
    }

    #[test]
    fn the_floor_is_the_nearest_kept_position_below() {
        let mut positions = Positions::new(LogIndex(10));
        for entry in 0..100 {
            positions.note(position(10 + entry, 4_096 + entry * 1_000));
        }
        assert_eq!(positions.floor(LogIndex(9)), None);
        assert_eq!(positions.floor(LogIndex(10)), Some(position(10, 4_096)));
        assert_eq!(positions.floor(LogIndex(26)), Some(position(10, 4_096)));
        assert_eq!(positions.floor(LogIndex(27)), Some(position(27, 21_096)));
        assert_eq!(positions.above(LogIndex(26)), Some(position(27, 21_096)));
        assert_eq!(positions.above(LogIndex(27)), Some(position(44, 38_096)));
        assert_eq!(positions.above(LogIndex(109)), None);
        assert_eq!(positions.behind(21_096), Some(position(27, 21_096)));
        assert_eq!(positions.behind(21_097), Some(position(44, 38_096)));
        positions.truncate(LogIndex(27));
        assert_eq!(positions.floor(LogIndex(90)), Some(position(10, 4_096)));
        positions.truncate(LogIndex(10));
        assert_eq!(positions.floor(LogIndex(90)), None);
    }
}
