//! `tercet log`: what is in a stopped node's files, and what is wrong with them.

use std::{
    io::{self, BufWriter, Write as _},
    path::Path,
};

use raft_log::{
    RecordKind,
    env::Env,
    inspect::{self, Dumped, Finding, Report, SegmentSummary, Severity},
    types::LogIndex,
};
use serde::Serialize;

use super::{
    Done,
    args::{LogCommand, Output},
    notices::notice,
    output,
};

pub(super) fn run(command: LogCommand, format: Output) -> Done {
    match command {
        LogCommand::Verify { dir } => verify(&dir, format),
        LogCommand::Dump { dir, from, until } => dump(&dir, from..until.unwrap_or(u64::MAX), format),
    }
}

#[derive(Serialize)]
struct Verified {
    whole: bool,
    node: Option<u64>,
    group: Option<u32>,
    incarnation: Option<String>,
    cluster: Option<String>,
    term: Option<u64>,
    voted_for: Option<u64>,
    purged: Option<String>,
    entries: u64,
    last: Option<String>,
    segments: Vec<Segment>,
    checkpoints: Vec<Checkpoint>,
    findings: Vec<Problem>,
}

#[derive(Serialize)]
struct Checkpoint {
    last: String,
    bytes: u64,
}

#[derive(Serialize)]
struct Segment {
    file: String,
    base: u64,
    end: u64,
    entries: u64,
    payload_bytes: u64,
    marks: u64,
    used_bytes: u64,
    file_bytes: u64,
    terms: String,
    mark_end: u64,
}

#[derive(Serialize)]
struct Problem {
    severity: &'static str,
    file: String,
    offset: Option<u64>,
    first: Option<u64>,
    end: Option<u64>,
    reason: String,
}

fn verify(dir: &Path, format: Output) -> Done {
    let report = inspect::verify(&Env::real(), dir)?;
    let whole = report.is_whole();
    let verified = verified(&report);
    if format == Output::Table {
        print_summary(&verified)?;
    }
    let rows = verified.segments.iter().map(|segment| {
        [
            segment.file.clone(),
            segment.base.to_string(),
            segment.end.to_string(),
            segment.entries.to_string(),
            segment.payload_bytes.to_string(),
            segment.marks.to_string(),
            format!("{} / {}", segment.used_bytes, segment.file_bytes),
            segment.terms.clone(),
            segment.mark_end.to_string(),
        ]
    });
    let headings = ["SEGMENT", "FIRST", "END", "ENTRIES", "PAYLOAD", "MARKS", "USED", "TERMS", "MARKED TO"];
    output::print(format, headings, rows, &verified)?;
    if format == Output::Table {
        for checkpoint in &verified.checkpoints {
            output::line(&format!("checkpoint up to {}, {} bytes", checkpoint.last, checkpoint.bytes))?;
        }
        for finding in &report.findings {
            output::line(&format!("{}: {finding}", severity(finding)))?;
        }
        output::line(if whole { "whole" } else { "DAMAGED" })?;
    }
    Ok(whole.into())
}

fn print_summary(verified: &Verified) -> io::Result<()> {
    fn known<T: ToString>(value: Option<&T>) -> String {
        value.map_or_else(|| "unknown".to_owned(), ToString::to_string)
    }
    let (node, group) = (known(verified.node.as_ref()), known(verified.group.as_ref()));
    output::line(&format!("node {node} of group {group}, incarnation {}", known(verified.incarnation.as_ref())))?;
    output::line(&format!("cluster {}", known(verified.cluster.as_ref())))?;
    let voted = verified.voted_for.map_or_else(|| "nobody".to_owned(), |node| format!("node {node}"));
    output::line(&format!("term {}, voted for {voted}", known(verified.term.as_ref())))?;
    let (last, purged) = (known(verified.last.as_ref()), verified.purged.as_deref().unwrap_or("nothing"));
    output::line(&format!("{} entries, last {last}, purged {purged}", verified.entries))
}

fn verified(report: &Report) -> Verified {
    let identity = report.identity.as_ref();
    let manifest = report.manifest.as_ref();
    Verified {
        whole: report.is_whole(),
        node: identity.map(|identity| identity.node.0),
        group: identity.map(|identity| identity.group.0).or(manifest.map(|manifest| manifest.group.0)),
        incarnation: identity.map(|identity| identity.incarnation.to_string()),
        cluster: identity.and_then(|identity| identity.cluster).map(|cluster| cluster.to_string()),
        term: report.hard_state.map(|state| state.term.0),
        voted_for: report.hard_state.and_then(|state| state.voted_for).map(|node| node.0),
        purged: manifest.and_then(|manifest| manifest.purged).map(|id| id.to_string()),
        entries: report.entries(),
        last: report.last().map(|id| id.to_string()),
        segments: report.segments.iter().map(segment).collect(),
        checkpoints: report
            .checkpoints
            .iter()
            .map(|checkpoint| Checkpoint { last: checkpoint.id.to_string(), bytes: checkpoint.bytes })
            .collect(),
        findings: report.findings.iter().map(problem).collect(),
    }
}

fn segment(segment: &SegmentSummary) -> Segment {
    let name = segment.file.file_name().unwrap_or_default();
    let terms: Vec<String> = segment.terms.iter().map(|(term, from)| format!("{term} from {from}")).collect();
    Segment {
        file: name.to_string_lossy().into_owned(),
        base: segment.base.0,
        end: segment.end.0,
        entries: segment.entries,
        payload_bytes: segment.payload_bytes,
        marks: segment.marks,
        used_bytes: segment.used_bytes,
        file_bytes: segment.file_bytes,
        terms: terms.join(", "),
        mark_end: segment.mark_end.0,
    }
}

fn problem(finding: &Finding) -> Problem {
    Problem {
        severity: severity(finding),
        file: finding.file.display().to_string(),
        offset: finding.offset,
        first: finding.entries.map(|(first, _)| first.0),
        end: finding.entries.map(|(_, end)| end.0),
        reason: finding.reason.clone(),
    }
}

fn severity(finding: &Finding) -> &'static str {
    match finding.severity {
        Severity::Note => "note",
        Severity::Damage => "damage",
    }
}

/// A line of a dump.
#[derive(Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum Line<'a> {
    Entry {
        index: u64,
        term: u64,
        kind: &'static str,
        count: u32,
        payload_bytes: u32,
        payload_crc: String,
        file: &'a str,
        offset: u64,
        durable_end: u64,
    },
    Mark {
        after: u64,
        term: u64,
        file: &'a str,
        offset: u64,
        durable_end: u64,
    },
    Lost {
        first: u64,
        end: u64,
        file: &'a str,
        offset: u64,
        end_offset: u64,
        reason: String,
    },
}

fn dump(dir: &Path, range: std::ops::Range<u64>, format: Output) -> Done {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let range = LogIndex(range.start)..LogIndex(range.end);
    let report = inspect::dump(&Env::real(), dir, range, &mut |record| {
        if written.is_ok() {
            written = print_record(&mut out, format, record);
        }
    })?;
    match written.and_then(|()| out.flush()) {
        // The reader has enough; what was found in the log is told all the same.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    // Not what is left in it: that cannot be written.
    drop(out.into_parts());
    for finding in &report.findings {
        notice(format!("{}: {finding}", severity(finding)));
    }
    Ok(report.is_whole().into())
}

fn print_record(out: &mut impl io::Write, format: Output, record: Dumped<'_>) -> io::Result<()> {
    let line = line_of(&record);
    match (format, line) {
        (Output::Json, line) => {
            serde_json::to_writer(&mut *out, &line)?;
            writeln!(out)
        }
        (Output::Table, Line::Entry { index, term, kind, count, payload_bytes, payload_crc, file, offset, .. }) => {
            writeln!(
                out,
                "{index:>12}  term {term:<6} {kind:<10} {count:>6} messages {payload_bytes:>9} bytes  crc {payload_crc}  {file} +{offset}"
            )
        }
        (Output::Table, Line::Mark { durable_end, file, offset, .. }) => {
            writeln!(out, "        mark  entries below {durable_end} are durable  {file} +{offset}")
        }
        (Output::Table, Line::Lost { first, end, file, offset, end_offset, reason }) => {
            writeln!(
                out,
                "     DAMAGED  entries from {first}, before {end}  {file} +{offset} to +{end_offset}: {reason}"
            )
        }
    }
}

fn line_of<'a>(record: &Dumped<'a>) -> Line<'a> {
    fn name(file: &Path) -> &str {
        file.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }
    match record {
        Dumped::Entry { file, offset, id, kind, count, payload_bytes, payload_crc, durable_end } => Line::Entry {
            index: id.index.0,
            term: id.term.0,
            kind: match kind {
                RecordKind::Blank => "blank",
                RecordKind::Command => "command",
                RecordKind::Membership => "membership",
            },
            count: *count,
            payload_bytes: *payload_bytes,
            payload_crc: format!("{payload_crc:08x}"),
            file: name(file),
            offset: *offset,
            durable_end: durable_end.0,
        },
        Dumped::Mark { file, offset, after, durable_end } => Line::Mark {
            after: after.index.0,
            term: after.term.0,
            file: name(file),
            offset: *offset,
            durable_end: durable_end.0,
        },
        Dumped::Hole { file, offset, end_offset, first, end, reason } => Line::Lost {
            first: first.0,
            end: end.0,
            file: name(file),
            offset: *offset,
            end_offset: *end_offset,
            reason: reason.clone(),
        },
    }
}
