use super::*;
use std::io;

use crate::checkpoint::manifest::{CHUNK_BYTES, Chunk, FORMAT};
use crate::env::OpenMode;
use crate::env::sim::{Crash, SimDisk, SimEnv};
use crate::storage::sealed_file::{self, SealedFormat};
use crate::types::Term;

const GROUP: GroupId = GroupId(7);

fn id(index: u64) -> LogId {
    LogId { term: Term(1), index: LogIndex(index) }
}

fn point(index: u64) -> AppliedPoint {
    AppliedPoint { id: id(index), membership: None }
}

fn env(disk: &Arc<SimDisk>) -> Env {
    Env { disk: disk.clone(), ..SimEnv::new(1).env() }
}

fn open(env: &Env) -> Checkpoints {
    Checkpoints::open(env, Path::new("/data"), GROUP).unwrap()
}

fn indexes(checkpoints: &Checkpoints) -> Vec<u64> {
    checkpoints.all().iter().map(|checkpoint| checkpoint.id().index.0).collect()
}

/// Writes a state of two files, one of more than a chunk; nothing of it is synced by the writer.
fn make(checkpoints: &Checkpoints, env: &Env, index: u64) -> io::Result<Arc<Checkpoint>> {
    let state = checkpoints.begin(LogIndex(index))?;
    for (name, bytes) in [("a", CHUNK_BYTES + 10), ("b", 3)] {
        let file = env.disk.open(&state.join(name), OpenMode::CreateNew)?;
        file.write_all_at(&vec![index as u8; bytes], 0)?;
    }
    Ok(checkpoints.seal(point(index))?)
}

#[test]
fn a_checkpoint_is_there_after_opening_again_and_reads_back() {
    let env = SimEnv::new(1).env();
    let checkpoints = open(&env);
    make(&checkpoints, &env, 30).unwrap();
    make(&checkpoints, &env, 10).unwrap();
    let again = open(&env);
    assert_eq!(indexes(&again), [10, 30]);
    let newest = again.newest().unwrap();
    newest.verify(&env).unwrap();
    let chunk = newest.manifest.chunks().nth(1).unwrap();
    assert_eq!(newest.read(&env, chunk).unwrap(), vec![30; 10]);
    assert_eq!(again.newest_below(LogIndex(30)).unwrap().id(), id(10));
    assert!(again.newest_below(LogIndex(10)).is_none());
    assert_eq!(again.oldest_from(LogIndex(11)).unwrap().id(), id(30));
}

// The manifest comes last: a power loss at any write leaves the whole checkpoint or nothing, and the older one.
#[test]
fn a_crash_at_any_write_leaves_whole_checkpoints_only() {
    for removing in [false, true] {
        for step in 0.. {
            let disk = Arc::new(SimDisk::new());
            let before = env(&disk);
            let checkpoints = open(&before);
            make(&checkpoints, &before, 10).unwrap();
            if removing {
                make(&checkpoints, &before, 20).unwrap();
            }
            disk.power_off_after(step);
            let done = if removing {
                checkpoints.thin(Some(LogIndex(15)), 2).is_ok()
            } else {
                make(&checkpoints, &before, 20).is_ok()
            };
            disk.crash(Crash::Torn { seed: step });
            let after = env(&disk);
            let found = open(&after);
            for checkpoint in found.all() {
                checkpoint.verify(&after).unwrap();
            }
            let found = indexes(&found);
            let expected: [&[u64]; 2] = if removing { [&[10, 20], &[20]] } else { [&[10], &[10, 20]] };
            assert!(expected.contains(&&found[..]), "step {step}: {found:?}");
            if done {
                assert_eq!(found, expected[1], "what was answered as done is durable");
                break;
            }
        }
    }
}

#[test]
fn damage_is_found_and_a_damaged_manifest_goes() {
    let disk = Arc::new(SimDisk::new());
    let env = env(&disk);
    let checkpoints = open(&env);
    let checkpoint = make(&checkpoints, &env, 10).unwrap();
    disk.flip_bit(&checkpoint.state().join("a"), CHUNK_BYTES + 4, 2);
    assert!(matches!(checkpoint.verify(&env), Err(CheckpointError::Damaged { .. })));
    let [good, bad] = checkpoint.manifest.chunks().take(2).collect::<Vec<_>>()[..] else { panic!("two chunks") };
    assert!(checkpoint.read(&env, good).is_ok());
    assert!(matches!(checkpoint.read(&env, bad), Err(CheckpointError::Damaged { .. })));

    let manifest = Manifest::path(Path::new("/data/checkpoints/00000000000000000010"));
    disk.flip_bit(&manifest, 30, 1);
    assert_eq!(indexes(&open(&env)), [10], "one of two copies");
    disk.flip_bit(&manifest, disk.content(&manifest).len() / 2 + 30, 1);
    assert_eq!(indexes(&open(&env)), [0; 0]);
}

// Hazards 30: what an earlier program does not know is not damaged, and may be all that is left of the state.
#[test]
fn a_checkpoint_of_a_newer_version_is_refused_and_stays() {
    let env = SimEnv::new(1).env();
    let checkpoint = make(&open(&env), &env, 10).unwrap();
    let manifest = Manifest::path(&checkpoint.dir);
    let newer = SealedFormat { version: FORMAT.version + 1, ..FORMAT };
    sealed_file::write(&env, &manifest, newer, b"from the future").unwrap();
    let refused = Checkpoints::open(&env, Path::new("/data"), GROUP).err();
    let is_right = |error: &OpenError| matches!(error, OpenError::NewerFormat { file, .. } if *file == manifest);
    assert!(refused.as_ref().is_some_and(is_right), "{refused:?}");
    for path in [manifest, checkpoint.state().join("a")] {
        assert!(env.disk.exists(&path).unwrap(), "{}", path.display());
    }
}

#[test]
fn thinning_keeps_the_purge_point_the_newest_and_what_is_held() {
    let env = SimEnv::new(1).env();
    let checkpoints = open(&env);
    for index in [10, 20, 30, 31, 50, 60] {
        make(&checkpoints, &env, index).unwrap();
    }
    let held = checkpoints.at(id(31)).unwrap();
    checkpoints.thin(Some(LogIndex(20)), 4).unwrap();
    assert_eq!(indexes(&checkpoints), [20, 31, 50, 60]);
    checkpoints.thin(Some(LogIndex(60)), 4).unwrap();
    assert_eq!(indexes(&checkpoints), [31, 60]);
    drop(held);
    checkpoints.thin(Some(LogIndex(60)), 4).unwrap();
    assert_eq!(indexes(&checkpoints), [60]);
}

#[test]
fn the_victim_has_the_closest_neighbours() {
    let at = |indexes: &[u64]| indexes.iter().copied().map(LogIndex).collect::<Vec<_>>();
    assert_eq!(victim(&at(&[0, 10, 20, 22, 40]), &[true; 5], None, 4), Some(2));
    assert_eq!(victim(&at(&[0, 10, 20, 22, 40]), &[true; 5], None, 5), None);
    assert_eq!(victim(&at(&[0, 10]), &[true; 2], None, 2), None);
    assert_eq!(victim(&at(&[]), &[], Some(LogIndex(9)), 2), None);
    assert_eq!(victim(&at(&[5]), &[true], Some(LogIndex(9)), 2), None, "the newest stays, for a lost state");
}

/// A checkpoint that shares the file `a` with the one at `from` and has a `b` of its own.
fn relinked(checkpoints: &Checkpoints, disk: &Arc<SimDisk>, from: u64, index: u64) -> PathBuf {
    let state = checkpoints.begin(LogIndex(index)).unwrap();
    let older = checkpoints.at(id(from)).unwrap();
    disk.link(&older.state().join("a"), &state.join("a"));
    let file = env(disk).disk.open(&state.join("b"), OpenMode::CreateNew).unwrap();
    file.write_all_at(&[9; 7], 0).unwrap();
    state
}

// The files of a state are mostly those of the checkpoint before. That one is not read is shown by losing its blocks.
#[test]
fn what_a_checkpoint_shares_with_the_one_before_is_not_read_again() {
    let disk = Arc::new(SimDisk::new());
    let env = env(&disk);
    let checkpoints = open(&env);
    let first = make(&checkpoints, &env, 10).unwrap();
    let state = relinked(&checkpoints, &disk, 10, 20);
    disk.lose_blocks(&state.join("a"), 0, 1);
    let second = checkpoints.seal(point(20)).unwrap();
    assert_eq!(disk.unreadable_reads(), 0);
    assert_eq!(second.manifest.files[0], first.manifest.files[0]);
    assert_ne!(second.manifest.files[1], first.manifest.files[1]);

    // Nobody knows after a start what the files were when they were summed.
    let checkpoints = open(&env);
    relinked(&checkpoints, &disk, 20, 30);
    assert!(checkpoints.seal(point(30)).is_err());
    assert!(disk.unreadable_reads() > 0);
}

#[test]
fn a_shared_file_that_was_written_meanwhile_is_read_again() {
    let disk = Arc::new(SimDisk::new());
    let env = env(&disk);
    let checkpoints = open(&env);
    make(&checkpoints, &env, 10).unwrap();
    let state = relinked(&checkpoints, &disk, 10, 20);
    env.disk.open(&state.join("a"), OpenMode::ReadWrite).unwrap().write_all_at(&[77], 5).unwrap();
    checkpoints.seal(point(20)).unwrap().verify(&env).unwrap();
}

#[test]
fn a_checkpoint_that_proved_damaged_is_remembered_as_such() {
    let disk = Arc::new(SimDisk::new());
    let env = env(&disk);
    let checkpoints = open(&env);
    let checkpoint = make(&checkpoints, &env, 10).unwrap();
    disk.lose_blocks(&checkpoint.state().join("a"), 8_192, 1);
    let chunks: Vec<Chunk> = checkpoint.manifest.chunks().collect();
    assert!(matches!(checkpoint.read(&env, chunks[0]), Err(CheckpointError::Damaged { .. })));
    assert!(checkpoint.is_damaged());
}

#[test]
fn the_scrub_reads_every_checkpoint_and_goes_on_behind_damage() {
    let disk = Arc::new(SimDisk::new());
    let env = env(&disk);
    let checkpoints = open(&env);
    for index in [10, 20, 30] {
        make(&checkpoints, &env, index).unwrap();
    }
    let round = || {
        let (mut place, mut bytes) = (None, 0);
        loop {
            let step = checkpoints.scrub(place);
            assert!(step.skipped.is_none());
            bytes += step.bytes;
            place = step.next;
            if place.is_none() {
                return bytes;
            }
        }
    };
    assert_eq!(round(), 3 * (CHUNK_BYTES + 13));
    disk.flip_bit(&checkpoints.at(id(10)).unwrap().state().join("a"), 5, 2);
    disk.lose_blocks(&checkpoints.at(id(30)).unwrap().state().join("b"), 0, 1);
    round();
    let damaged = |index| checkpoints.at(id(index)).unwrap().is_damaged();
    assert!(damaged(10) && !damaged(20) && damaged(30));

    // The one that stands for what is purged stays until the log is purged further.
    assert!(checkpoints.remove_damaged(Some(id(10))).unwrap());
    assert_eq!(indexes(&checkpoints), [10, 20]);
    assert_eq!(checkpoints.sound_from(LogIndex(10)).unwrap().id(), id(20));
    assert!(checkpoints.remove_damaged(Some(id(20))).unwrap());
    assert_eq!(indexes(&checkpoints), [20]);
    assert_eq!(indexes(&open(&env)), [20]);
}
