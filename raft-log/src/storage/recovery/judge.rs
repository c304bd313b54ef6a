//! Reads the segments one after the other, and judges each: whole, torn or corrupt (hazards 3). Changes nothing.
//!
//! A sealed segment whose saved index covers all of it is taken as the index tells; what lies in it is checked when it is
//! read. Of the newest one, the records behind its saved index are scanned.

use super::recovered::{Recovered, during};
use super::residue::{self, Residue};
use super::scan::{Scan, ScanEnd, scan};
use super::segments::Files;
use crate::env::Env;
use crate::planted::{self, Bug};
use crate::storage::bad_record::BadRecord;
use crate::storage::catalog::{Catalog, Placed};
use crate::storage::format::HeaderFault;
use crate::storage::format::record_header::stride_of;
use crate::storage::hard_state::LoadedHardState;
use crate::storage::manifest::Manifest;
use crate::storage::segment::Segment;
use crate::storage::sidecar::Sidecar;
use crate::storage::terms::Terms;
use crate::storage::{OpenError, RecoveryReport, StorageOptions, TornTail};
use crate::types::LogIndex;
use std::sync::Arc;

/// The highest version of the record format that is read.
const RECORD_VERSION_MAX: u32 = 1;

/// Everything that was read, and the judgement that it is whole.
pub(super) struct Judged {
    pub(super) log: Recovered,
    /// The newest segment, and where it holds what a torn write left: to be zeroed from and to.
    pub(super) cut: Option<(Arc<Segment>, u64, u64)>,
    /// Segments whose index is to be saved.
    pub(super) unindexed: Vec<LogIndex>,
    pub(super) files: Files,
}

/// Reads and judges all segments of `files`.
pub(super) fn judge(
    env: &Env,
    options: &StorageOptions,
    manifest: Manifest,
    hard_state: LoadedHardState,
    files: Files,
) -> Result<Judged, OpenError> {
    let log = Recovered {
        hard_state,
        catalog: Catalog::default(),
        terms: Terms::default(),
        last: manifest.purged.filter(|purged| purged.index.next() == manifest.start()),
        next: manifest.start(),
        marked_end: manifest.start(),
        spares: Vec::new(),
        indexed_to: 0,
        goes_on_elsewhere: false,
        report: RecoveryReport { segments: files.segments.len(), ..RecoveryReport::default() },
        manifest,
    };
    let segments = files.segments.clone();
    let mut judged = Judged { log, cut: None, unindexed: Vec::new(), files };
    for (at, segment) in segments.iter().enumerate() {
        if segment.base != judged.log.next {
            let reason = format!("the log goes on with index {} before it, not with its own", judged.log.next);
            return Err(OpenError::Damaged { file: segment.path.clone(), reason });
        }
        match segments.get(at + 1) {
            Some(following) => judged.judge_sealed(env, options, segment, following.base)?,
            None => judged.judge_newest(env, options, segment)?,
        }
    }
    let log = &mut judged.log;
    log.report.mark = log.marked_end.0.checked_sub(1).map(LogIndex);
    log.report.truncation_finished = log.manifest.truncating;
    Ok(judged)
}

impl Judged {
    /// A segment that another one follows, whose base says how far this one reached.
    fn judge_sealed(
        &mut self,
        env: &Env,
        options: &StorageOptions,
        segment: &Arc<Segment>,
        limit: LogIndex,
    ) -> Result<(), OpenError> {
        let saved = self.saved_index(env, options, segment).filter(|saved| saved.end == limit);
        if saved.is_none() {
            self.unindexed.push(segment.base);
        }
        let begun = self.begin(segment, saved);
        // A mark may have been written after the index was saved: a truncation must find it, or it outlives its entries.
        let found = self.scan(segment, begun, limit)?;
        must_reach(segment, &found, limit)?;
        self.note(segment, found, limit);
        Ok(())
    }

    /// The segment that is written to, or will be cut where a truncation under way says.
    fn judge_newest(&mut self, env: &Env, options: &StorageOptions, segment: &Arc<Segment>) -> Result<(), OpenError> {
        let truncating = self.log.manifest.truncating;
        let saved = self.saved_index(env, options, segment).filter(|_| truncating.is_none());
        let indexed_to = saved.as_ref().map(|saved| saved.end_offset);
        let begun = self.begin(segment, saved);
        let begun_at = begun.end_offset;
        let found = self.scan(segment, begun, truncating.unwrap_or(LogIndex(u64::MAX)))?;
        if found.end_offset - begun_at >= options.sizes.index_every {
            self.unindexed.push(segment.base);
        }
        self.log.indexed_to = indexed_to.unwrap_or(0);

        let mut mark_end = found.mark_end;
        let look_to = indexed_to.map_or(segment.file_bytes, |to| residue_end(options, segment, to, found.end_offset));
        let look =
            || residue::look(segment, found.end_offset, look_to, options).map_err(during("reading", &segment.path));
        let cut = |end| (segment.clone(), found.end_offset, end);
        match truncating {
            // What was to be removed is left behind the end; the log goes on elsewhere.
            Some(limit) if !planted::is(Bug::EraseTakenForDone) => must_reach(segment, &found, limit)?,
            Some(_) => self.cut = look()?.end_offset.map(cut),
            None => {
                let residue = look()?;
                mark_end = mark_end.max(residue.mark_end.unwrap_or_default());
                self.log.report.torn_tail = judge_tail(segment, &found, residue, mark_end)?;
                refuse_unreadable_tail(options, segment, &found)?;
                self.cut = residue.end_offset.map(cut);
            }
        }
        self.note(segment, found, mark_end);
        Ok(())
    }

    /// The saved index of a segment, if it goes on from the entry before.
    fn saved_index(&self, env: &Env, options: &StorageOptions, segment: &Segment) -> Option<Sidecar> {
        let last = self.log.last;
        let saved = Sidecar::load(env, segment, options.group);
        saved.filter(|saved| last.is_none_or(|last| saved.runs[0].term >= last.term))
    }

    fn begin(&mut self, segment: &Segment, saved: Option<Sidecar>) -> Scan {
        self.log.report.indexed_segments += usize::from(saved.is_some());
        match saved {
            Some(saved) => Scan::indexed(saved, &mut self.log.last, &mut self.log.terms),
            None => Scan::begin(segment),
        }
    }

    fn scan(&mut self, segment: &Segment, begun: Scan, limit: LogIndex) -> Result<Scan, OpenError> {
        let log = &mut self.log;
        scan(segment, begun, limit, &mut log.last, &mut log.terms).map_err(during("reading", &segment.path))
    }

    fn note(&mut self, segment: &Arc<Segment>, found: Scan, mark_end: LogIndex) {
        let log = &mut self.log;
        log.next = found.end;
        log.marked_end = log.marked_end.max(mark_end);
        log.report.records += found.records;
        log.report.payload_bytes += found.payload_bytes;
        log.catalog.push(Placed {
            segment: segment.clone(),
            positions: found.positions,
            end: found.end,
            end_offset: found.end_offset,
        });
    }
}

/// Up to where a recycled segment is looked at for records of its own behind the good ones, which end at `end_offset`, if an
/// index was saved up to `indexed_to`. Another one is saved after so many bytes; twice that is looked at. But indexes fail to
/// be saved, so in any case as far behind the end as a record can lie that says whether the end was durable.
fn residue_end(options: &StorageOptions, segment: &Segment, indexed_to: u64, end_offset: u64) -> u64 {
    let reach = options.unsynced_reach();
    let mut look_to = indexed_to + 2 * options.sizes.index_every + reach;
    if !planted::is(Bug::StaleIndexBound) {
        look_to = look_to.max(end_offset + reach + stride_of(options.record_payload_bytes_max));
    }
    segment.file_bytes.min(look_to)
}

/// Entries below `limit` were durable: another segment or a truncation's intent says so.
fn must_reach(segment: &Segment, found: &Scan, limit: LogIndex) -> Result<(), OpenError> {
    refuse_foreign(segment, found)?;
    if found.end < limit { Err(corrupt(segment, found, limit)) } else { Ok(()) }
}

/// Decides between torn and corrupt at the end of the newest segment (hazards 3).
fn judge_tail(
    segment: &Segment,
    found: &Scan,
    residue: Residue,
    mark_end: LogIndex,
) -> Result<Option<TornTail>, OpenError> {
    refuse_foreign(segment, found)?;
    if mark_end > found.end && !planted::is(Bug::CorruptMiddleCut) {
        return Err(corrupt(segment, found, mark_end));
    }
    let reason = match &found.ended {
        // Whatever is no record of this life and has none behind it is what an earlier life left.
        ScanEnd::Bad(BadRecord::Header(fault))
            if segment.may_hold_behind_its_end(*fault) && residue.mark_end.is_none() =>
        {
            return Ok(None);
        }
        ScanEnd::Bad(bad) => bad.to_string(),
        // Bytes without any header are what a truncation left of payloads; they are zeroed like a torn tail.
        _ if residue.mark_end.is_some() => "later parts of a write without its first".into(),
        _ => return Ok(None),
    };
    Ok(Some(TornTail { file: segment.path.clone(), offset: found.end_offset, index: found.end, reason }))
}

/// What the device cannot read at the end of the log may have been torn, or acknowledged long ago with the very mark that
/// said so: one sector holds both. It is cut only when the caller has seen to it that this node decides no election until
/// it knows what it has forgotten (hazards 36).
fn refuse_unreadable_tail(options: &StorageOptions, segment: &Segment, found: &Scan) -> Result<(), OpenError> {
    match &found.ended {
        ScanEnd::Bad(bad) if bad.is_unreadable() && !options.cut_unreadable_tail => {
            Err(OpenError::UnreadableTail { file: segment.path.clone(), offset: found.end_offset, index: found.end })
        }
        _ => Ok(()),
    }
}

/// A record of another salt or a newer format was not torn: somebody wrote it.
fn refuse_foreign(segment: &Segment, found: &Scan) -> Result<(), OpenError> {
    let file = segment.path.clone();
    match &found.ended {
        ScanEnd::Bad(BadRecord::Header(HeaderFault::OtherSalt { index }))
            if *index == found.end && !segment.recycled =>
        {
            Err(OpenError::WrongSalt { file, offset: found.end_offset, index: *index })
        }
        ScanEnd::Bad(BadRecord::Header(HeaderFault::Newer { version })) => {
            Err(OpenError::NewerFormat { file, found: u32::from(*version), supported: RECORD_VERSION_MAX })
        }
        _ => Ok(()),
    }
}

fn corrupt(segment: &Segment, found: &Scan, durable_end: LogIndex) -> OpenError {
    let reason = match &found.ended {
        ScanEnd::Bad(bad) => bad.to_string(),
        ScanEnd::Unwritten | ScanEnd::Limit => "nothing is written where the record should be".into(),
    };
    OpenError::Corrupt {
        file: segment.path.clone(),
        offset: found.end_offset,
        index: found.end,
        mark: LogIndex(durable_end.0 - 1),
        reason,
    }
}
