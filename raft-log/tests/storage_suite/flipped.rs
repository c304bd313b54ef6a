//! A bit flips under a running log: whichever way a record is read, it is checked again, and a damaged one is named and
//! never handed out.

use crate::support::*;
use raft_log::env::Env;
use raft_log::storage::{Log, ReadError, StorageOptions};
use raft_log::types::LogIndex;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

const HEADER: u64 = 56;
const PAYLOAD: usize = 1_000;
const STRIDE: u64 = 1_056;
/// Records of a segment of 64 KiB, with room for a mark behind the last.
const RECORDS_OF_SEGMENT: u64 = 58;

/// A log on the real disk, of three segments and a bit, with nothing cached.
fn open(dir: &Path) -> Log {
    let options = StorageOptions {
        segment_bytes_max: 64 << 10,
        record_payload_bytes_max: 8 << 10,
        cache_bytes_max: 0,
        ..StorageOptions::new(dir, GROUP)
    };
    Log::open(Env::real(), options).unwrap().0
}

fn filled(dir: &Path) {
    let log = open(dir);
    let (sender, receiver) = mpsc::channel();
    log.save_hard_state(voted(1), Box::new(drop)).unwrap();
    log.append(records(1, 0..200, PAYLOAD), Box::new(move |result| sender.send(result).unwrap())).unwrap();
    receiver.recv().unwrap().unwrap();
}

fn place_of(dir: &Path, index: u64) -> (PathBuf, u64) {
    let base = index / RECORDS_OF_SEGMENT * RECORDS_OF_SEGMENT;
    (dir.join("log").join(format!("{base:020}.seg")), 4_096 + (index - base) * STRIDE)
}

/// Flips a bit behind the log's back, as a failing disk does.
fn flip(file: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[test]
fn a_flipped_bit_is_named_and_never_served() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    {
        let log = open(dir.path());
        let read = |index: u64| log.read(LogIndex(index), LogIndex(index + 1), usize::MAX);
        (0..200).for_each(|index| assert_eq!(read(index).unwrap(), [record(1, index, PAYLOAD)]));
        for index in [0, 30, RECORDS_OF_SEGMENT - 1, RECORDS_OF_SEGMENT, 150, 199] {
            let (file, offset) = place_of(dir.path(), index);
            for at in (0..HEADER + PAYLOAD as u64).step_by(13) {
                flip(&file, offset + at);
                match read(index).unwrap_err() {
                    ReadError::Corrupt { file: named, offset: begin, index: found, .. } => {
                        assert_eq!((named, begin, found), (file.clone(), offset, LogIndex(index)), "byte {at}");
                    }
                    other => panic!("record {index}, byte {at}: {other}"),
                }
                flip(&file, offset + at);
                assert_eq!(read(index).unwrap(), [record(1, index, PAYLOAD)]);
            }
        }
    }
}

#[test]
fn a_range_over_a_damaged_record_is_refused_and_not_cut_out() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    {
        let log = open(dir.path());
        let (file, offset) = place_of(dir.path(), 70);
        flip(&file, offset + 500);
        let range = |from: u64, until: u64| log.read(LogIndex(from), LogIndex(until), usize::MAX);
        assert!(matches!(range(65, 90), Err(ReadError::Corrupt { index: LogIndex(70), .. })));
        assert_eq!(range(0, 70).unwrap(), records(1, 0..70, PAYLOAD));
        assert_eq!(range(71, 200).unwrap(), records(1, 71..200, PAYLOAD));
        flip(&file, offset + 500);
        assert_eq!(range(0, 200).unwrap(), records(1, 0..200, PAYLOAD));
    }
}
