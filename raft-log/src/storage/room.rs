//! Whether the disk has room for entries that only fill it (hazards 9).
//!
//! ```text
//!   free on the disk ── high-water mark or reserve_bytes ── 0      allocated for the log ── 1/8 of a segment ── 0
//!        enough       │ low: publishes are refused                      enough            │ low, if no more can be had
//! ```
//! The high-water mark counts what others fill as well: nothing that somebody has yet to read is deleted because of them
//! (hazards 35), so what is new waits.
//!
//! A log that is low goes on with what is small or makes room: acknowledgements, trims, memberships. For those there is the
//! rest of what is allocated, and the reserve is left to the state's own writes. When even that is used up, appends wait
//! until there is space again; they never fail for want of it.
//!
//! Below half of the reserve the disk is scarce: the state is not persisted until there is more ([`is_scarce`]), since a store
//! that meets a full disk within a flush cannot go on.

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
    pub(crate) disk: DiskUse,
    /// Allocated for the log and not yet written.
    pub(crate) allocated_bytes: u64,
    /// The next segment could not be allocated.
    pub(crate) starved: bool,
}

/// How full a file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskUse {
    pub(crate) free_bytes: u64,
    pub(crate) total_bytes: u64,
}

impl DiskUse {
    /// What is assumed where nothing can be told: an answer that cannot be had is no reason to refuse anything.
    pub(crate) const UNKNOWN: DiskUse = DiskUse { free_bytes: u64::MAX, total_bytes: u64::MAX };

    /// Whether it is fuller than this percentage; never, if that is 100.
    pub(crate) fn is_above(&self, percent: u8) -> bool {
        let used = self.total_bytes.saturating_sub(self.free_bytes);
        percent < 100 && u128::from(used) * 100 > u128::from(self.total_bytes) * u128::from(percent)
    }
}

impl Room {
    /// Whether there is room now. It is low until there is clearly more than at the bound, so that it does not flap.
    pub(crate) fn judge(self, space: Space, options: &StorageOptions) -> Room {
        let reserve = options.reserve_bytes;
        let free_bytes_min = if self == Room::Low { reserve + reserve / 4 } else { reserve };
        let allocated_bytes_min = options.segment_bytes_max / ALLOCATED_FRACTION;
        let starved = space.starved && space.allocated_bytes < allocated_bytes_min;
        let mark = match options.disk_high_water_percent {
            mark @ 1..100 if self == Room::Low => mark - 1,
            mark => mark,
        };
        let low = space.disk.free_bytes < free_bytes_min || space.disk.is_above(mark) || starved;
        if low { Room::Low } else { Room::Enough }
    }
}

/// Whether the disk has too little for a flush of the state. It does until there is clearly more than half of the reserve.
pub(crate) fn is_scarce(before: bool, disk: DiskUse, options: &StorageOptions) -> bool {
    let half = options.reserve_bytes / 2;
    disk.free_bytes < if before { half + half / 4 } else { half }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::GroupId;

    fn space() -> Space {
        Space { disk: DiskUse::UNKNOWN, allocated_bytes: 0, starved: false }
    }

    // Hazards 35: whoever fills the disk.
    #[test]
    fn it_is_low_above_the_high_water_mark_and_enough_clearly_below_it() {
        let options = |disk_high_water_percent| StorageOptions {
            reserve_bytes: 0,
            disk_high_water_percent,
            ..StorageOptions::new("d", GroupId(1))
        };
        let judge = |room: Room, free_bytes, percent| {
            room.judge(Space { disk: DiskUse { free_bytes, total_bytes: 1_000 }, ..space() }, &options(percent))
        };
        assert_eq!([149, 150].map(|free| judge(Room::Enough, free, 85)), [Room::Low, Room::Enough]);
        assert_eq!([159, 160].map(|free| judge(Room::Low, free, 85)), [Room::Low, Room::Enough]);
        assert_eq!([Room::Enough, Room::Low].map(|room| judge(room, 0, 100)), [Room::Enough; 2], "there is no mark");
    }

    #[test]
    fn it_is_low_below_the_reserve_and_enough_clearly_above_it() {
        let options = StorageOptions { reserve_bytes: 1_000, ..StorageOptions::new("d", GroupId(1)) };
        let judge = |room: Room, free_bytes| {
            room.judge(Space { disk: DiskUse { free_bytes, ..DiskUse::UNKNOWN }, ..space() }, &options)
        };
        assert_eq!([999, 1_000].map(|free| judge(Room::Enough, free)), [Room::Low, Room::Enough]);
        assert_eq!([1_000, 1_249, 1_250].map(|free| judge(Room::Low, free)), [Room::Low, Room::Low, Room::Enough]);
    }

    #[test]
    fn it_is_scarce_below_half_of_the_reserve_until_there_is_clearly_more() {
        let options = StorageOptions { reserve_bytes: 1_000, ..StorageOptions::new("d", GroupId(1)) };
        let judge = |before, free_bytes| is_scarce(before, DiskUse { free_bytes, ..DiskUse::UNKNOWN }, &options);
        assert_eq!([499, 500].map(|free| judge(false, free)), [true, false]);
        assert_eq!([624, 625].map(|free| judge(true, free)), [true, false]);
    }

    #[test]
    fn it_is_low_when_no_segment_can_be_had_and_the_last_one_fills() {
        let options = StorageOptions { segment_bytes_max: 8_000, ..StorageOptions::new("d", GroupId(1)) };
        let judge =
            |allocated_bytes, starved| Room::Enough.judge(Space { allocated_bytes, starved, ..space() }, &options);
        assert_eq!([999, 1_000].map(|bytes| judge(bytes, true)), [Room::Low, Room::Enough]);
        assert_eq!(judge(0, false), Room::Enough, "the next one is on its way");
    }
}
