//! The files of a log that does not open because it is damaged: they are repaired here, and served to others meanwhile.
//!
//! Several nodes may be damaged at once, in different places. Each serves what it has good, so that they can repair each
//! other before any of them takes part in the group.

use super::{Lost, RangeRequest, fill};
use crate::env::{DiskLock, Env};
use crate::storage::cold::{ReadPlan, read_records};
use crate::storage::format::{HeaderKind, SEGMENT_HEADER_BYTES};
use crate::storage::layout::{SEGMENTS_FOLDER, lock};
use crate::storage::manifest::Manifest;
use crate::storage::positions::{Position, Positions};
use crate::storage::record::Record;
use crate::storage::recovery::open_segments;
use crate::storage::segment::Segment;
use crate::storage::survey::{Found, Hole, survey};
use crate::storage::terms::Terms;
use crate::storage::{OpenError, StorageOptions};
use crate::types::{LogId, LogIndex};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// See the module. Holds the folder's lock until [`Folder::release`].
pub(crate) struct Folder {
    segments: Vec<Arc<Segment>>,
    /// A truncation under way: what is at or above it need not be good.
    truncating: Option<LogIndex>,
    /// The segment that was looked at last.
    viewed: Mutex<Option<Arc<View>>>,
    lock: Mutex<Option<Box<dyn DiskLock>>>,
}

/// What a survey of one segment found.
struct View {
    base: LogIndex,
    positions: Positions,
    /// The first good entry behind each hole.
    behind_holes: Vec<Position>,
    terms: Terms,
    holes: Vec<(Hole, Option<LogId>)>,
    end: LogIndex,
    mark_end: LogIndex,
    first: Option<LogId>,
}

impl Folder {
    /// Opens the files of `options.dir` for repair.
    pub(crate) fn open(env: &Env, options: &StorageOptions) -> Result<Folder, OpenError> {
        let lock = lock(env, &options.dir)?;
        let manifest = Manifest::load(env, &options.dir, options.group)?.unwrap_or_default();
        let folder = options.dir.join(SEGMENTS_FOLDER);
        let segments = open_segments(env, &folder, options, &manifest)?;
        Ok(Folder { segments, truncating: manifest.truncating, viewed: Mutex::default(), lock: Mutex::new(Some(lock)) })
    }

    /// Gives the folder's lock back, so that the log can be opened. Connections that end a little later hold this still;
    /// they only read.
    pub(crate) fn release(&self) {
        drop(self.lock.lock().expect("no holder of this lock panics").take());
    }

    /// The damaged ranges of a segment that were durable, ascending.
    pub(crate) fn lost_in(&self, file: &Path) -> io::Result<Vec<Lost>> {
        let Some(at) = self.segments.iter().position(|segment| segment.path == file) else { return Ok(Vec::new()) };
        let view = self.view(at)?;
        let is_last = at + 1 == self.segments.len();
        let mut lost = Vec::new();
        for (hole, before) in &view.holes {
            let torn = is_last && self.truncating.is_none() && hole.first >= view.mark_end;
            if torn || self.truncating.is_some_and(|first_removed| hole.first >= first_removed) {
                break;
            }
            let mut hole = hole.clone();
            for later in at + 1..self.segments.len() {
                if hole.anchor.is_none() {
                    hole.anchor = self.view(later)?.first;
                }
            }
            lost.push(Lost { base: view.base, hole, before: *before });
        }
        Ok(lost)
    }

    /// Fills the hole of `lost` with these entries, durably and checked.
    pub(crate) fn repair(&self, lost: &Lost, records: &[Record]) -> io::Result<()> {
        let segment = self.segments.iter().find(|segment| segment.base == lost.base);
        let segment = segment.ok_or_else(|| io::Error::other("the segment is gone"))?;
        let bytes = fill(lost, records, segment.salt).map_err(io::Error::other)?;
        *self.viewed() = None;
        super::write(segment, lost, &bytes)
    }

    /// The first entries of the request that fit into `bytes_max`, if the anchor is held; `None` if it is not, or if an
    /// entry is damaged here too.
    pub(crate) fn matching(&self, request: RangeRequest, bytes_max: usize) -> io::Result<Option<Vec<Record>>> {
        let RangeRequest { first, end, anchor } = request;
        match self.segment_of(anchor.index) {
            Some(at) if self.view(at)?.holds(anchor) => {}
            _ => return Ok(None),
        }
        let Some(at) = self.segment_of(first) else { return Ok(None) };
        let view = self.view(at)?;
        let Some(start) = view.floor(first) else { return Ok(None) };
        let until = end.min(view.end);
        let mut records = Vec::new();
        let plan = ReadPlan { start, from: first, until, bytes_max, at_least_one: true };
        match read_records(&self.segments[at], plan, &mut records) {
            Ok(()) => Ok((!records.is_empty()).then_some(records)),
            Err(_) if !records.is_empty() => Ok(Some(records)),
            Err(_) => Ok(None),
        }
    }

    /// The segment that holds an entry, if any can.
    fn segment_of(&self, index: LogIndex) -> Option<usize> {
        self.segments.partition_point(|segment| segment.base <= index).checked_sub(1)
    }

    fn viewed(&self) -> std::sync::MutexGuard<'_, Option<Arc<View>>> {
        self.viewed.lock().expect("no thread panics while it holds the view")
    }

    /// Looks at a segment; only the last view is kept.
    fn view(&self, at: usize) -> io::Result<Arc<View>> {
        let segment = &self.segments[at];
        if let Some(view) = self.viewed().as_ref().filter(|view| view.base == segment.base) {
            return Ok(view.clone());
        }
        let end = self.segments.get(at + 1).map(|next| {
            let bytes = next.base_offset.saturating_sub(segment.base_offset);
            Position { index: next.base, offset: SEGMENT_HEADER_BYTES + bytes }
        });
        let view = Arc::new(View::of(segment, end)?);
        *self.viewed() = Some(view.clone());
        Ok(view)
    }
}

impl View {
    fn of(segment: &Segment, end: Option<Position>) -> io::Result<View> {
        let mut view = View {
            base: segment.base,
            positions: Positions::new(segment.base),
            behind_holes: Vec::new(),
            terms: Terms::default(),
            holes: Vec::new(),
            end: segment.base,
            mark_end: segment.base,
            first: None,
        };
        let (mut last, mut behind_hole) = (None, false);
        let surveyed = survey(segment, None, end, &mut |found| match found {
            Found::Good(header) => {
                if let HeaderKind::Entry(_) = header.kind {
                    let position = Position { index: header.id.index, offset: header.own_offset };
                    view.positions.note(position);
                    if std::mem::take(&mut behind_hole) {
                        view.behind_holes.push(position);
                    }
                    view.terms.push(header.id);
                    view.first.get_or_insert(header.id);
                }
                // A mark names the entry before it.
                last = Some(header.id);
            }
            Found::Hole(hole) => {
                behind_hole = true;
                // A record whose header is good says who the lost entry was.
                let own = hole.anchor.filter(|anchor| anchor.index == hole.first && hole.end == hole.first.next());
                let marks_only = hole.first == hole.end;
                view.holes.push((hole, last));
                last = own.or(last.filter(|_| marks_only));
            }
        })?;
        view.end = surveyed.end;
        view.mark_end = surveyed.mark_end;
        Ok(view)
    }

    fn holds(&self, id: LogId) -> bool {
        let lost = self.holes.iter().any(|(hole, _)| (hole.first..hole.end).contains(&id.index));
        id.index < self.end && !lost && self.terms.at(id.index) == Some(id.term)
    }

    /// A good record at or below `index` with nothing damaged in between, where there is one.
    fn floor(&self, index: LogIndex) -> Option<Position> {
        let behind_hole = self.behind_holes.iter().rev().find(|position| position.index <= index).copied();
        self.positions.floor(index).into_iter().chain(behind_hole).max_by_key(|position| position.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::SimEnv;
    use crate::storage::Log;
    use crate::types::GroupId;

    // Found under simulation: a connection that was served during a repair kept the folder locked, and the node did not
    // open.
    #[test]
    fn a_released_folder_can_be_opened_while_somebody_still_holds_its_files() {
        let env = SimEnv::new(1).env();
        let options = StorageOptions::new("/data", GroupId(7));
        let (log, _) = Log::open(env.clone(), options.clone()).unwrap();
        log.shutdown();
        drop(log);
        let folder = Arc::new(Folder::open(&env, &options).unwrap());
        let served = folder.clone();
        assert!(matches!(Folder::open(&env, &options), Err(OpenError::Locked { .. })));
        folder.release();
        Log::open(env, options).unwrap().0.shutdown();
        drop(served);
    }
}
