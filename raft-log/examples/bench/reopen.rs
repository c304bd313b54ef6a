//! How long a log takes to open again, after a clean stop and after its process was killed.
//!
//! Another process of this program writes the log, so that the kill is a real one; in the second round it is killed while
//! it goes on writing. Before each opening the page cache is asked to forget the files.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft_log::env::Env;
use raft_log::storage::{HardState, Log, RecordKind, StorageOptions};
use raft_log::types::{GroupId, LogId, LogIndex, Term};
use raft_log::{Record, storage};

use crate::arguments::Arguments;
use crate::backlog::drop_cached_pages;

/// Payload bytes of one append.
const APPEND_BYTES: usize = 1 << 20;
/// Appends that are under way at once.
const APPENDS: usize = 8;

fn options(arguments: &Arguments, dir: &Path) -> StorageOptions {
    let segment_bytes_max = arguments.get::<u64>("segment-mb", 1024) << 20;
    StorageOptions { segment_bytes_max, ..StorageOptions::new(dir, GroupId(1)) }
}

pub(crate) fn run(arguments: &Arguments) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir: PathBuf = arguments.get("dir", folder.path().join("log"));
    let gib: f64 = arguments.get("gib", 10.0);
    for (end, gib_written) in [("clean", gib), ("kill", 0.5)] {
        write_in_a_process(arguments, &dir, gib_written, end);
        drop_cached_pages(&dir.join("log"));
        let begin = Instant::now();
        let (log, report) = Log::open(Env::real(), options(arguments, &dir)).expect("the log opens");
        let took = begin.elapsed();
        let last = log.bounds().last.expect("the log has entries");
        let read = log.read(last.index, last.index.next(), usize::MAX).expect("the last entry is readable");
        assert_eq!(read.len(), 1, "the last entry is there");
        println!(
            "{{\"end\": \"{end}\", \"entries\": {}, \"segments\": {}, \"indexed\": {}, \"records_scanned\": {}, \"open_ms\": {}}}",
            last.index.0 + 1,
            report.segments,
            report.indexed_segments,
            report.records,
            took.as_millis(),
        );
    }
}

/// Lets a child write so much more, and end as told.
fn write_in_a_process(arguments: &Arguments, dir: &Path, gib: f64, end: &str) {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.args(["reopen-writer", "--gib", &gib.to_string(), "--end", end, "--dir"]).arg(dir);
    for name in ["size", "segment-mb"] {
        command.args([&format!("--{name}"), &arguments.get(name, 1024_u64).to_string()]);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the writer starts");
    let said = BufReader::new(child.stdout.take().expect("a pipe")).lines().next();
    assert!(said.is_some_and(|line| line.is_ok()), "the writer has written");
    if end == "kill" {
        std::thread::sleep(Duration::from_millis(300));
        child.kill().expect("the writer can be killed");
    }
    child.wait().expect("the writer ends");
}

/// The child.
pub(crate) fn write(arguments: &Arguments) {
    let dir: PathBuf = arguments.get("dir", PathBuf::new());
    let size: usize = arguments.get("size", 1024);
    let left = (arguments.get("gib", 1.0) * f64::from(1 << 30)) as usize / APPEND_BYTES;
    let (log, _) = Log::open(Env::real(), options(arguments, &dir)).expect("the log opens");
    let (sender, answers) = mpsc::channel();
    let done = || -> storage::Done {
        let sender = sender.clone();
        Box::new(move |result| sender.send(result).expect("the writer waits"))
    };
    log.save_hard_state(HardState { term: Term(1), voted_for: None, committed: false }, done()).expect("a vote");
    answers.recv().expect("an answer").expect("the vote is saved");
    let payload = Bytes::from(vec![7; size]);
    let mut next = log.bounds().last.map_or(0, |last| last.index.0 + 1);
    let mut append = || {
        let end = next + (APPEND_BYTES / size).max(1) as u64;
        let id = |index| LogId { term: Term(1), index: LogIndex(index) };
        let records = (next..end).map(|index| Record::new(id(index), RecordKind::Command, 1, payload.clone()));
        log.append(records.collect(), done()).expect("the log takes it");
        next = end;
    };
    (0..APPENDS).for_each(|_| append());
    for _ in APPENDS..left {
        answers.recv().expect("an answer").expect("it is stored");
        append();
    }
    println!("written");
    if arguments.get("end", String::new()) == "kill" {
        loop {
            answers.recv().expect("an answer").expect("it is stored");
            append();
        }
    }
    (0..APPENDS).for_each(|_| answers.recv().expect("an answer").expect("it is stored"));
    log.shutdown();
}
