//! Whether the disk has room for entries that only fill it (hazards 9).
//!
//! ```text
//!   free on the disk ──────────── reserve_bytes ── 0        allocated for the log ── 1/8 of a segment ── 0
//!        enough      │ low: publishes are refused                 enough            │ low, if no more can be had
//! ```
//! A log that is low goes on with what is small or makes room: acknowledgements, trims, memberships. For those there is the
//! rest of what is allocated, and the reserve is left to the state's own writes. When even that is used up, appends wait
//! until there is space again; they never fail for want of it.

use super::options::StorageOptions;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// Everything may be appended.
    #[default]
    Enough,
    /// New publishes must be refused; what is small or makes room still fits.
    Low,
}

/// Part (1/n) of a segment that must be allocated when no further one can be.
const ALLOCATED_FRACTION: u64 = 8;

/// What the judgement rests on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    /// Free on the disk.
    pub(crate) free_bytes: u64,
    /// Allocated for the log and not yet written.
    pub(crate) allocated_bytes: u64,
    /// The next segment could not be allocated.
    pub(crate) starved: bool,
}

impl Room {
    /// Whether there is room now. It is low until there is clearly more than at the bound, so that it does not flap.
    pub(crate) fn judge(self, space: Space, options: &StorageOptions) -> Room {
        let reserve = options.reserve_bytes;
        let free_bytes_min = if self == Room::Low { reserve + reserve / 4 } else { reserve };
        let allocated_bytes_min = options.segment_bytes_max / ALLOCATED_FRACTION;
        let starved = space.starved && space.allocated_bytes < allocated_bytes_min;
        if space.free_bytes < free_bytes_min || starved { Room::Low } else { Room::Enough }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::GroupId;

    #[test]
    fn it_is_low_below_the_reserve_and_enough_clearly_above_it() {
        let options = StorageOptions { reserve_bytes: 1_000, ..StorageOptions::new("d", GroupId(1)) };
        let judge =
            |room: Room, free_bytes| room.judge(Space { free_bytes, allocated_bytes: 0, starved: false }, &options);
        assert_eq!([999, 1_000].map(|free| judge(Room::Enough, free)), [Room::Low, Room::Enough]);
        assert_eq!([1_000, 1_249, 1_250].map(|free| judge(Room::Low, free)), [Room::Low, Room::Low, Room::Enough]);
    }

    #[test]
    fn it_is_low_when_no_segment_can_be_had_and_the_last_one_fills() {
        let options = StorageOptions { segment_bytes_max: 8_000, ..StorageOptions::new("d", GroupId(1)) };
        let judge = |allocated_bytes, starved| {
            Room::Enough.judge(Space { free_bytes: u64::MAX, allocated_bytes, starved }, &options)
        };
        assert_eq!([999, 1_000].map(|bytes| judge(bytes, true)), [Room::Low, Room::Enough]);
        assert_eq!(judge(0, false), Room::Enough, "the next one is on its way");
    }
}
