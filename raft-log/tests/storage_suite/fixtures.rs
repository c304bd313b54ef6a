//! Files of every format version that ever wrote a log: they must open for ever.
//!
//! A folder is written once, by the program of its day, and never again: `v1` is the first format; `v2` has segment
//! headers and manifest of version 2, and saved indexes. When a format
//! changes, run `cargo test -p raft-log --test storage_suite -- --ignored write_a_fixture` with the *old* program and
//! check the folder in under a new name.

use crate::support::*;
use raft_log::env::Env;
use raft_log::storage::{Log, Record, StorageOptions};
use raft_log::types::LogIndex;
use std::path::{Path, PathBuf};

fn folder(version: &str) -> PathBuf {
    // Tests run in their package's folder. Its path when this was compiled says nothing: checkouts may share a target.
    Path::new("tests/fixtures").join(version)
}

fn options_in(dir: &Path) -> StorageOptions {
    StorageOptions {
        segment_bytes_max: 8 << 10,
        record_payload_bytes_max: 2 << 10,
        cache_bytes_max: 0,
        ..StorageOptions::new(dir, GROUP)
    }
}

/// What every fixture holds: three segments, a change of term, a truncation, a purge and durable marks.
fn expected() -> Vec<Record> {
    let first = (0..6).map(|index| record(1, index, 900));
    first.chain((6..9).map(|index| record(3, index, 300))).collect()
}

#[test]
#[ignore = "writes a new fixture; for the day before a format changes"]
fn write_a_fixture() {
    let dir = folder("new");
    std::fs::create_dir_all(&dir).unwrap();
    let (log, mut stepper, _) = Log::open_stepped(Env::real(), options_in(&dir)).unwrap();
    let done = || Box::new(|result: Result<(), _>| result.unwrap());
    log.save_hard_state(voted(3), done()).unwrap();
    log.append((0..6).map(|index| record(1, index, 900)).collect(), done()).unwrap();
    log.append(records(2, 6..12, 500), done()).unwrap();
    stepper.step();
    stepper.idle();
    log.truncate_after(Some(LogIndex(5)), done()).unwrap();
    log.append(records(3, 6..9, 300), done()).unwrap();
    log.purge_to(id(1, 2), done()).unwrap();
    stepper.step();
    stepper.idle();
}

#[test]
fn a_log_of_every_version_opens_and_goes_on() {
    // hazards 30
    for (version, indexed) in [("v1", 0), ("v2", 2)] {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(&folder(version), dir.path());
        for reopened in [false, true] {
            let (log, mut stepper, report) = Log::open_stepped(Env::real(), options_in(dir.path())).unwrap();
            let all = log.read(LogIndex(0), LogIndex(u64::MAX), usize::MAX).unwrap();
            let added = records(3, 9..10, 2 << 10);
            let written = if reopened { [expected(), added.clone()].concat() } else { expected() };
            assert_eq!(all, written, "{version}");
            assert_eq!(report.torn_tail, None, "{version}");
            assert!(reopened || report.indexed_segments == indexed, "{version}: {report:?}");
            assert_eq!(log.bounds().purged, Some(id(1, 2)), "{version}");
            assert_eq!(log.hard_state(), Some(voted(3)), "{version}");
            if !reopened {
                log.append(added, Box::new(|result| result.unwrap())).unwrap();
                stepper.step();
            }
            log.shutdown();
        }
    }
}
