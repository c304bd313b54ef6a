//! One step of the scrub: reads a piece of a segment with all its checks, and reports what is damaged.
//!
//! Opening trusts the saved indexes of segments and reads only what is behind them, so it is the scrub that looks at the
//! rest. It reads the newest segment too, as far as it is written.

use super::positions::Position;
use super::shared::Shared;
use super::survey::{Found, survey_stretch};
use crate::storage::format::SEGMENT_HEADER_BYTES;
use crate::types::LogIndex;
use std::io;
use std::sync::atomic::Ordering::Relaxed;

/// Where a scrub goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScrubPlace {
    base: LogIndex,
    at: Position,
}

/// What a step did.
#[derive(Debug)]
pub(crate) struct Scrubbed {
    pub(crate) bytes: u64,
    /// Where to go on; `None` when everything was read.
    pub(crate) next: Option<ScrubPlace>,
    /// Why this piece could not be looked at; the scrub goes on behind it.
    pub(crate) skipped: Option<io::Error>,
}

impl Shared {
    /// Reads about `bytes` from `place` on, or from the begin of the log; at most to the end of a segment.
    pub(crate) fn scrub(&self, place: Option<ScrubPlace>, bytes: u64) -> Scrubbed {
        let (segment, start, end, following, epoch, settled) = {
            let state = self.lock();
            let all = state.catalog.all();
            let from = place.map_or(LogIndex(0), |place| place.base);
            let Some(at) = all.iter().position(|placed| placed.segment.base >= from) else {
                return Scrubbed { bytes: 0, next: None, skipped: None };
            };
            let placed = &all[at];
            let first = Position { index: placed.segment.base, offset: SEGMENT_HEADER_BYTES };
            let start = place.filter(|place| place.base == placed.segment.base).map_or(first, |place| place.at);
            let segment_end = Position { index: placed.end, offset: placed.end_offset };
            let end = placed.positions.behind(start.offset + bytes).unwrap_or(segment_end);
            let following = if end.offset < placed.end_offset {
                Some(ScrubPlace { base: first.index, at: end })
            } else {
                all.get(at + 1).map(|next| {
                    let base = next.segment.base;
                    ScrubPlace { base, at: Position { index: base, offset: SEGMENT_HEADER_BYTES } }
                })
            };
            (placed.segment.clone(), start, end, following, state.epoch, state.epoch == state.files_epoch)
        };
        let mut damaged = Vec::new();
        let surveyed = survey_stretch(&segment, start, end, &mut |found| {
            if let Found::Hole(hole) = found {
                damaged.push(hole.first);
            }
        });
        if !settled || self.lock().epoch != epoch {
            // A truncation changed the file meanwhile, or is about to.
            damaged.clear();
        }
        for index in damaged {
            tracing::error!(file = %segment.path.display(), %index, "the scrub met a damaged record");
            self.damage.report(index);
        }
        let bytes = end.offset.saturating_sub(start.offset);
        self.counters.scrubbed_bytes.fetch_add(bytes, Relaxed);
        if following.is_none() {
            self.counters.scrub_rounds.fetch_add(1, Relaxed);
        }
        Scrubbed { bytes, next: following, skipped: surveyed.err() }
    }
}
