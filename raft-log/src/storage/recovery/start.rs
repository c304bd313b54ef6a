//! The whole of recovery: read, judge, then repair.

use super::residue::{self, Residue};
use super::scan::{BadRecord, Scan, ScanEnd, scan};
use super::segments::{self, Files};
use crate::env::Env;
use crate::storage::catalog::{Catalog, Placed};
use crate::storage::format::HeaderFault;
use crate::storage::hard_state::{HardStateFile, LoadedHardState};
use crate::storage::io::{Prepared, erase};
use crate::storage::manifest::Manifest;
use crate::storage::segment::Segment;
use crate::storage::terms::Terms;
use crate::storage::{OpenError, RecoveryReport, StorageOptions, TornTail};
use crate::types::{LogId, LogIndex};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The highest version of the record format that is read.
const RECORD_VERSION_MAX: u32 = 1;

/// A log that can go on.
pub(crate) struct Recovered {
    pub(crate) manifest: Manifest,
    pub(crate) hard_state: LoadedHardState,
    pub(crate) catalog: Catalog,
    pub(crate) terms: Terms,
    pub(crate) last: Option<LogId>,
    pub(crate) next: LogIndex,
    /// The highest durable mark that was found, exclusive.
    pub(crate) marked_end: LogIndex,
    /// Files of released segments, to be used again.
    pub(crate) spares: Vec<Prepared>,
    pub(crate) report: RecoveryReport,
}

/// Everything that was read, and the judgement that it is whole.
struct Judged {
    log: Recovered,
    /// The newest segment, and where to zero it from and to.
    cut: Option<(Arc<Segment>, u64, u64)>,
    files: Files,
}

/// Recovers the log of `options.dir`, whose segments are in `folder`.
pub(crate) fn recover(env: &Env, options: &StorageOptions, folder: &Path) -> Result<Recovered, OpenError> {
    let manifest = Manifest::load(env, &options.dir, options.group)?;
    let hard_state = HardStateFile::load(env, &options.dir, options.group)?;
    let manifest = match manifest {
        Some(manifest) => manifest,
        None => begin(env, options, folder, &hard_state)?,
    };
    let files = segments::open_all(env, folder, options, &manifest)?;
    let judged = judge(manifest, hard_state, files)?;
    check_against_hard_state(options, &judged.log)?;
    repair(env, options, folder, judged)
}

/// The manifest of a new data folder. The other files come after it, so they must not be there.
fn begin(
    env: &Env,
    options: &StorageOptions,
    folder: &Path,
    hard_state: &LoadedHardState,
) -> Result<Manifest, OpenError> {
    let names =
        env.disk.list(folder).map_err(|source| OpenError::Io { action: "listing", file: folder.into(), source })?;
    let segments = names.iter().filter(|name| Segment::base_of_name(name).is_some()).count();
    if segments > 0 || hard_state.state.is_some() {
        let reason = "the data folder holds a log or a hard state, so it had one".into();
        return Err(OpenError::Missing { file: Manifest::path(&options.dir), reason });
    }
    Ok(Manifest::default())
}

fn judge(manifest: Manifest, hard_state: LoadedHardState, files: Files) -> Result<Judged, OpenError> {
    let mut log = Recovered {
        hard_state,
        catalog: Catalog::default(),
        terms: Terms::default(),
        last: manifest.purged.filter(|purged| purged.index.next() == manifest.start()),
        next: manifest.start(),
        marked_end: manifest.start(),
        spares: Vec::new(),
        report: RecoveryReport { segments: files.segments.len(), ..RecoveryReport::default() },
        manifest,
    };
    let mut cut = None;
    for (at, segment) in files.segments.iter().enumerate() {
        if segment.base != log.next {
            let reason = format!("the log goes on with index {} before it, not with its own", log.next);
            return Err(OpenError::Damaged { file: segment.path.clone(), reason });
        }
        let following = files.segments.get(at + 1).map(|next| next.base);
        let limit = following.or(log.manifest.truncating).unwrap_or(LogIndex(u64::MAX));
        let found = scan(segment, limit, &mut log.last, &mut log.terms).map_err(reading(segment))?;
        if following.is_some() || log.manifest.truncating.is_some() {
            must_reach(segment, &found, limit)?;
        }
        let mut end_mark = found.mark_end;
        if following.is_none() {
            let residue = residue::look(segment, found.end_offset).map_err(reading(segment))?;
            if log.manifest.truncating.is_none() {
                end_mark = end_mark.max(residue.mark_end.unwrap_or_default());
                log.report.torn_tail = judge_tail(segment, &found, residue, end_mark)?;
            }
            cut = residue.end_offset.map(|end| (segment.clone(), found.end_offset, end));
        }
        log.note(segment, found, end_mark);
    }
    log.report.mark = log.marked_end.0.checked_sub(1).map(LogIndex);
    log.report.truncation_finished = log.manifest.truncating;
    Ok(Judged { log, cut, files })
}

impl Recovered {
    fn note(&mut self, segment: &Arc<Segment>, found: Scan, mark_end: LogIndex) {
        self.next = found.end;
        self.marked_end = self.marked_end.max(mark_end);
        self.report.records += found.records;
        self.report.payload_bytes += found.payload_bytes;
        self.catalog.push(Placed {
            segment: segment.clone(),
            positions: found.positions,
            end: found.end,
            end_offset: found.end_offset,
        });
    }
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
    if mark_end > found.end {
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

/// The vote is saved before entries of its term are appended: a log that is ahead means that a vote was lost.
fn check_against_hard_state(options: &StorageOptions, log: &Recovered) -> Result<(), OpenError> {
    let saved = log.hard_state.state.map(|state| state.term);
    if let Some(last) = log.last
        && last.term > saved.unwrap_or_default()
    {
        return Err(OpenError::HardStateBehindLog {
            file: HardStateFile::path(&options.dir),
            log_term: last.term,
            saved,
        });
    }
    if let Some(purged) = log.manifest.purged
        && purged.index >= log.next
    {
        let reason = format!("it says that entries up to {purged} were purged, but the log ends before {}", log.next);
        return Err(OpenError::Damaged { file: Manifest::path(&options.dir), reason });
    }
    let visible = log.manifest.purged.map_or(LogIndex(0), |purged| purged.index.next());
    if log.manifest.start() > visible {
        let reason = format!("the log begins with index {}, but not all before it is purged", log.manifest.start());
        return Err(OpenError::Damaged { file: Manifest::path(&options.dir), reason });
    }
    Ok(())
}

/// The log will open: makes the disk hold exactly what was judged good, all of it synced.
fn repair(env: &Env, options: &StorageOptions, folder: &Path, judged: Judged) -> Result<Recovered, OpenError> {
    let Judged { mut log, cut, files } = judged;
    log.spares = files.spares;
    for leftover in &files.leftovers {
        env.disk.remove(leftover).map_err(during("removing", leftover))?;
    }
    env.disk.sync_dir(folder).map_err(during("syncing", folder))?;
    if let Some((segment, start, end)) = cut {
        erase(&segment, start, end).map_err(during("cutting the torn tail of", &segment.path))?;
    }
    if let Some(last) = log.catalog.last() {
        // What survived a killed process may be in the page cache only.
        last.segment.file.sync_data().map_err(during("syncing", &last.segment.path))?;
    }
    if log.hard_state.needs_repair {
        let state = log.hard_state.state.expect("only a state that was read can be repaired");
        log.hard_state.file.save(env, state).map_err(during("repairing", &HardStateFile::path(&options.dir)))?;
        log.report.hard_state_repaired = true;
    }
    log.manifest.truncating = None;
    log.manifest.segments = log.catalog.listed();
    let path = Manifest::path(&options.dir);
    log.manifest.save(env, &options.dir, options.group).map_err(during("saving", &path))?;
    Ok(log)
}

fn reading(segment: &Segment) -> impl FnOnce(io::Error) -> OpenError {
    during("reading", &segment.path)
}

fn during(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let file = file.to_path_buf();
    move |source| OpenError::Io { action, file, source }
}
