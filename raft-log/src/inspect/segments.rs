//! The segments: every record checked, damage walked past, the whole compared with manifest and hard state.

use super::copies;
use super::error::{InspectError, failed};
use super::files::{group_of, noted};
use super::report::{Dumped, Finding, Report, SegmentSummary, Severity};
use crate::env::{Env, OpenMode};
use crate::storage::format::{HeaderKind, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::storage::hard_state::HardStateFile;
use crate::storage::manifest::Manifest;
use crate::storage::media::read_around;
use crate::storage::segment::Segment;
use crate::storage::survey::{Found, Hole, Position, Surveyed, survey};
use crate::types::{LogId, LogIndex};
use std::ops::Range;
use std::path::Path;

const ADVICE: &str = "the node repairs it from its peers when it starts, where they hold it";

/// A segment of the log; `None` if its file is missing or has no readable header.
struct Placed {
    base: LogIndex,
    segment: Option<Segment>,
    /// Behind its records lie those of an earlier life.
    recycled: bool,
}

/// Reads the segments of `folder` that hold entries of `range`.
pub(super) fn read(
    env: &Env,
    folder: &Path,
    range: &Range<LogIndex>,
    report: &mut Report,
    visit: &mut dyn FnMut(Dumped<'_>),
) -> Result<(), InspectError> {
    let placed = open_all(env, folder, report)?;
    let mut last = None;
    for (at, Placed { base, segment, recycled }) in placed.iter().enumerate() {
        let next = placed.get(at + 1);
        let Some(segment) = segment else {
            last = None;
            continue;
        };
        if *base >= range.end || next.is_some_and(|next| next.base <= range.start) {
            last = None;
            continue;
        }
        copies::read_index(env, segment, report)?;
        let sealed = next.map(|next| sealed_end(segment, next));
        let io_error = failed("reading", &segment.path);
        let truncating = report.manifest.as_ref().and_then(|manifest| manifest.truncating);
        let mut reading = Reading::new(segment, range);
        let mut surveyed = survey(segment, last, sealed, &mut |found| reading.note(found, visit)).map_err(io_error)?;
        surveyed.behind.take_if(|_| *recycled);
        last = surveyed.last;
        reading.judge(&surveyed, sealed.is_some(), truncating, report);
        report.segments.push(reading.summary);
    }
    let last_was_read = placed.last().map(|last| last.base) == report.segments.last().map(|last| last.base);
    compare(folder, last_was_read, report);
    Ok(())
}

/// Opens every segment that is in the folder, and notes those that should be.
fn open_all(env: &Env, folder: &Path, report: &mut Report) -> Result<Vec<Placed>, InspectError> {
    let mut placed = Vec::new();
    let (listed, truncating) = match &report.manifest {
        Some(manifest) => (manifest.segments.clone(), manifest.truncating),
        None => (Vec::new(), None),
    };
    let names = if env.disk.exists(folder).map_err(failed("looking for", folder))? {
        env.disk.list(folder).map_err(failed("listing", folder))?
    } else {
        Vec::new()
    };
    for name in names {
        let Some(base) = Segment::base_of_name(&name) else { continue };
        let file = folder.join(&name);
        let start = listed.first().copied().or(report
            .manifest
            .as_ref()
            .and_then(|manifest| manifest.purged)
            .map(|id| id.index));
        if !listed.contains(&base) && start.is_some_and(|start| base < start) {
            let reason = "it was released; it is removed at the next start";
            report.findings.push(Finding::of_file(Severity::Note, &file, reason));
            continue;
        }
        let in_the_way = !listed.contains(&base) && listed.last().is_some_and(|last| base < *last);
        if truncating.is_some_and(|first| base >= first && !listed.contains(&base)) {
            let reason = "a truncation that was under way removes it at the next start";
            report.findings.push(Finding::of_file(Severity::Note, &file, reason));
            continue;
        }
        if in_the_way && report.manifest.is_some() {
            let reason = "it lies between the segments that the manifest lists, but is not one of them";
            report.findings.push(Finding::of_file(Severity::Damage, &file, reason));
            continue;
        }
        placed.push(open(env, &file, base, report)?);
    }
    for base in listed {
        if !placed.iter().any(|segment| segment.base == base) {
            let file = folder.join(Segment::name(base));
            let reason = "it is missing: the manifest lists it as a segment of the log";
            report.findings.push(Finding::of_file(Severity::Damage, &file, reason));
            placed.push(Placed { base, segment: None, recycled: false });
        }
    }
    placed.sort_by_key(|segment| segment.base);
    Ok(placed)
}

fn open(env: &Env, path: &Path, base: LogIndex, report: &mut Report) -> Result<Placed, InspectError> {
    let unreadable = Placed { base, segment: None, recycled: false };
    let file = env.disk.open(path, OpenMode::Read).map_err(failed("opening", path))?;
    let bytes = file.byte_len().map_err(failed("measuring", path))?;
    let mut head = vec![0; usize::try_from(bytes.min(SEGMENT_HEADER_BYTES)).expect("at most a header")];
    read_around(file.as_ref(), &mut head, 0).map_err(failed("reading", path))?;
    let decoded = match group_of(report) {
        Some(group) => SegmentHeader::decode(&head, path, group),
        None => SegmentHeader::decode_any(&head, path),
    };
    let Some(mut header) = noted(decoded, report)? else { return Ok(unreadable) };
    if header.base != base {
        let reason = format!("its header says that it begins with index {}", header.base);
        report.findings.push(Finding::of_file(Severity::Damage, path, reason));
        return Ok(unreadable);
    }
    if SegmentHeader::mend(&head, path).is_some() {
        let reason = "one of the two copies of its header is damaged; the node mends it from the other";
        report.findings.push(Finding::of_file(Severity::Damage, path, reason));
    }
    if bytes < header.file_bytes {
        let reason = format!("it is truncated: {bytes} bytes instead of {}", header.file_bytes);
        report.findings.push(Finding::of_file(Severity::Damage, path, reason));
        header.file_bytes = bytes;
    }
    let segment = (bytes >= SEGMENT_HEADER_BYTES).then(|| Segment::new(path.into(), file, &header));
    Ok(Placed { base, segment, recycled: header.recycled })
}

/// Where a segment ends, as the next one tells.
fn sealed_end(segment: &Segment, next: &Placed) -> Position {
    let told = next.segment.as_ref().and_then(|next| next.base_offset.checked_sub(segment.base_offset));
    Position { index: next.base, offset: told.map_or(segment.file_bytes, |bytes| SEGMENT_HEADER_BYTES + bytes) }
}

/// One segment while it is read.
struct Reading<'a> {
    segment: &'a Segment,
    range: &'a Range<LogIndex>,
    summary: SegmentSummary,
    holes: Vec<Hole>,
}

impl<'a> Reading<'a> {
    fn new(segment: &'a Segment, range: &'a Range<LogIndex>) -> Reading<'a> {
        let summary = SegmentSummary {
            file: segment.path.clone(),
            base: segment.base,
            end: segment.base,
            file_bytes: segment.file_bytes,
            used_bytes: SEGMENT_HEADER_BYTES,
            entries: 0,
            payload_bytes: 0,
            marks: 0,
            terms: Vec::new(),
            first: None,
            last: None,
            mark_end: segment.base,
        };
        Reading { segment, range, summary, holes: Vec::new() }
    }

    fn note(&mut self, found: Found, visit: &mut dyn FnMut(Dumped<'_>)) {
        let file = &self.segment.path;
        match found {
            Found::Good(header) => {
                let shown = header.id.index >= self.range.start && header.id.index < self.range.end;
                if shown {
                    visit(dumped(file, &header));
                }
                self.count(&header);
            }
            Found::Hole(hole) => {
                if hole.end >= self.range.start && hole.first < self.range.end {
                    let reason = hole.bad.to_string();
                    let Hole { offset, end_offset, first, end, .. } = hole;
                    visit(Dumped::Hole { file, offset, end_offset, first, end, reason });
                }
                self.holes.push(hole);
            }
        }
    }

    fn count(&mut self, header: &RecordHeader) {
        let HeaderKind::Entry(_) = header.kind else {
            self.summary.marks += 1;
            return;
        };
        let summary = &mut self.summary;
        summary.entries += 1;
        summary.payload_bytes += u64::from(header.payload_bytes);
        summary.first.get_or_insert(header.id);
        summary.last = Some(header.id);
        if summary.terms.last().is_none_or(|(term, _)| *term < header.id.term) {
            summary.terms.push((header.id.term, header.id.index));
        }
    }

    /// Decides between torn and damaged, as a node does when it opens (hazards 3).
    fn judge(&mut self, surveyed: &Surveyed, sealed: bool, truncating: Option<LogIndex>, report: &mut Report) {
        self.summary.end = surveyed.end;
        self.summary.used_bytes = surveyed.end_offset;
        self.summary.mark_end = surveyed.mark_end;
        let file = self.segment.path.clone();
        for hole in &self.holes {
            let entries = Some((hole.first, hole.end));
            let torn = !sealed && hole.first >= surveyed.mark_end;
            let cut = truncating.is_some_and(|first| hole.first >= first);
            let (severity, reason) = if cut {
                (Severity::Note, "a truncation that was under way removes what is here".to_owned())
            } else if torn {
                (Severity::Note, format!("{}; above the durable mark, so a torn write that is cut", hole.bad))
            } else {
                (Severity::Damage, format!("{}; it was durable: {ADVICE}", hole.bad))
            };
            report.findings.push(Finding { severity, file: file.clone(), offset: Some(hole.offset), entries, reason });
            if torn {
                return;
            }
        }
        if let Some(behind) = &surveyed.behind {
            let reason = format!("{behind}; behind the last record, so a torn write that is cut");
            let offset = Some(surveyed.end_offset);
            report.findings.push(Finding { severity: Severity::Note, file, offset, entries: None, reason });
        }
    }
}

fn dumped<'a>(file: &'a Path, header: &RecordHeader) -> Dumped<'a> {
    let RecordHeader { payload_bytes, id, own_offset, durable_end, count, payload_crc, kind } = *header;
    match kind {
        HeaderKind::Entry(kind) => {
            Dumped::Entry { file, offset: own_offset, id, kind, count, payload_bytes, payload_crc, durable_end }
        }
        HeaderKind::Mark => Dumped::Mark { file, offset: own_offset, after: id, durable_end },
    }
}

/// What no file shows by itself.
fn compare(folder: &Path, last_was_read: bool, report: &mut Report) {
    let mut problems = Vec::new();
    for (one, next) in report.segments.iter().zip(report.segments.iter().skip(1)) {
        if one.end > next.base {
            let reason = format!("it goes on to index {}, but the next segment begins with {}", one.end, next.base);
            problems.push(Finding::of_file(Severity::Damage, &one.file, reason));
        }
    }
    let dir = folder.parent().unwrap_or(folder);
    let saved = report.hard_state.map(|state| state.term).unwrap_or_default();
    if let Some(LogId { term, .. }) = report.last().filter(|last| last.term > saved) {
        let reason = format!("it holds term {saved}, but the log ends with term {term}: it is missing or too old");
        problems.push(Finding::of_file(Severity::Damage, &HardStateFile::path(dir), reason));
    }
    let end = report.segments.last().filter(|_| last_was_read).map(|segment| segment.end);
    if let (Some(purged), Some(end)) = (report.manifest.as_ref().and_then(|manifest| manifest.purged), end)
        && purged.index >= end
    {
        let reason = format!("it says that entries up to {purged} were purged, but the log ends before {end}");
        problems.push(Finding::of_file(Severity::Damage, &Manifest::path(dir), reason));
    }
    report.findings.extend(problems);
}
