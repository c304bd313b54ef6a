//! `tercetd log`: what is in a stopped node's files, and what is wrong with them.

use std::{
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use raft_log::{
    RecordKind,
    env::Env,
    inspect::{self, Dumped, Finding, Report, SegmentSummary, Severity},
    types::LogIndex,
};
use serde::Serialize;
use tercet_output::{
    Lines,
    results::{self, Format},
};

/// What `tercetd log` takes.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Check every byte of a node's log and say what is in it and what is wrong with it
    #[command(after_help = "\
A damaged node repairs itself from its peers when it starts; `verify` says where the damage is, and
changes nothing. The exit code is 1 if anything that was durable is damaged or missing. A torn tail
is none: it was never acknowledged.

Example:
  tercetd log verify /var/lib/tercet")]
    Verify {
        /// The data folder of a node that does not run
        dir: PathBuf,
    },
    /// Print the records of a node's log, with their places on its disk
    #[command(after_help = "\
With -o json each record is a JSON line. Damage stands where it is, as a line of its own, and makes
the exit code 1.

Example:
  tercetd log dump /var/lib/tercet --from 1000 --until 1100 -o json")]
    Dump {
        /// The data folder of a node that does not run
        dir: PathBuf,
        /// The first entry
        #[arg(long, value_name = "INDEX", default_value = "0")]
        from: u64,
        /// The entry after the last [default: the end of the log]
        #[arg(long, value_name = "INDEX")]
        until: Option<u64>,
    },
}

/// Whether the log is whole, or why that cannot be said.
type Whole = Result<bool, Box<dyn std::error::Error>>;

pub(super) fn run(command: &LogCommand, format: Format, lines: &Lines) -> Whole {
    match command {
        LogCommand::Verify { dir } => verify(dir, format),
        LogCommand::Dump { dir, from, until } => dump(dir, *from..until.unwrap_or(u64::MAX), format, lines),
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

fn verify(dir: &Path, format: Format) -> Whole {
    let report = inspect::verify(&Env::real(), dir)?;
    let whole = report.is_whole();
    let verified = verified(&report);
    if format == Format::Table {
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
    results::print(format, headings, rows, &verified)?;
    if format == Format::Table {
        for checkpoint in &verified.checkpoints {
            results::line(&format!("checkpoint up to {}, {} bytes", checkpoint.last, checkpoint.bytes))?;
        }
        for finding in &report.findings {
            results::line(&format!("{}: {finding}", severity(finding)))?;
        }
        results::line(if whole { "whole" } else { "DAMAGED" })?;
    }
    Ok(whole)
}

fn print_summary(verified: &Verified) -> io::Result<()> {
    fn known<T: ToString>(value: Option<&T>) -> String {
        value.map_or_else(|| "unknown".to_owned(), ToString::to_string)
    }
    let (node, group) = (known(verified.node.as_ref()), known(verified.group.as_ref()));
    results::line(&format!("node {node} of group {group}, incarnation {}", known(verified.incarnation.as_ref())))?;
    results::line(&format!("cluster {}", known(verified.cluster.as_ref())))?;
    let voted = verified.voted_for.map_or_else(|| "nobody".to_owned(), |node| format!("node {node}"));
    results::line(&format!("term {}, voted for {voted}", known(verified.term.as_ref())))?;
    let (last, purged) = (known(verified.last.as_ref()), verified.purged.as_deref().unwrap_or("nothing"));
    results::line(&format!("{} entries, last {last}, purged {purged}", verified.entries))
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

fn dump(dir: &Path, range: std::ops::Range<u64>, format: Format, lines: &Lines) -> Whole {
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
        lines.say(format!("{}: {finding}", severity(finding)));
    }
    Ok(report.is_whole())
}

fn print_record(out: &mut impl io::Write, format: Format, record: Dumped<'_>) -> io::Result<()> {
    let line = line_of(&record);
    match (format, line) {
        (Format::Json, line) => {
            serde_json::to_writer(&mut *out, &line)?;
            writeln!(out)
        }
        (Format::Table, Line::Entry { index, term, kind, count, payload_bytes, payload_crc, file, offset, .. }) => {
            writeln!(
                out,
                "{index:>12}  term {term:<6} {kind:<10} {count:>6} messages {payload_bytes:>9} bytes  crc {payload_crc}  {file} +{offset}"
            )
        }
        (Format::Table, Line::Mark { durable_end, file, offset, .. }) => {
            writeln!(out, "        mark  entries below {durable_end} are durable  {file} +{offset}")
        }
        (Format::Table, Line::Lost { first, end, file, offset, end_offset, reason }) => {
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
