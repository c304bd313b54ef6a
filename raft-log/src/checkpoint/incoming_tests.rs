use std::path::Path;

use super::*;
use crate::checkpoint::manifest::CHUNK_BYTES;
use crate::env::Env;
use crate::env::sim::{Crash, SimDisk, SimEnv};
use crate::state_machine::AppliedPoint;
use crate::types::{GroupId, LogId, LogIndex, Term};

fn open(env: &Env, data: &str) -> Arc<Checkpoints> {
    Arc::new(Checkpoints::open(env, Path::new(data), GroupId(7)).unwrap())
}

/// What a leader has: files of several chunks, one that ends with a chunk, and an empty one.
fn sender() -> (Env, Arc<Checkpoint>) {
    let env = SimEnv::new(1).env();
    let checkpoints = open(&env, "/leader");
    let state = checkpoints.begin(LogIndex(50)).unwrap();
    for (name, bytes) in [("CURRENT", 10), ("a.sst", 2 * CHUNK_BYTES + 77), ("b.sst", CHUNK_BYTES), ("empty", 0)] {
        let content: Vec<u8> = (0..bytes).map(|at| (at * 31 + at / 251) as u8).collect();
        let file = env.disk.open(&state.join(name), OpenMode::CreateNew).unwrap();
        file.write_all_at(&content, 0).unwrap();
    }
    let point = AppliedPoint { id: LogId { term: Term(3), index: LogIndex(50) }, membership: None };
    (env, checkpoints.seal(point).unwrap())
}

/// The bytes of all chunks, as they are sent.
fn chunks(env: &Env, checkpoint: &Checkpoint) -> Vec<Vec<u8>> {
    checkpoint.manifest.chunks().map(|chunk| checkpoint.read(env, chunk).unwrap().to_vec()).collect()
}

#[test]
fn what_came_in_is_what_was_sent() {
    let (leader, checkpoint) = sender();
    let env = SimEnv::new(2).env();
    let checkpoints = open(&env, "/data");
    let mut incoming = Incoming::begin(checkpoints.clone(), checkpoint.manifest.clone()).unwrap();
    for (number, bytes) in chunks(&leader, &checkpoint).iter().enumerate() {
        assert_eq!(incoming.next(), number as u64);
        incoming.take(number as u64, bytes).unwrap();
    }
    assert!(incoming.is_complete());
    let kept = incoming.finish().ok().unwrap();
    assert_eq!(kept.manifest, checkpoint.manifest);
    kept.verify(&env).unwrap();
    assert_eq!(open(&env, "/data").newest().unwrap().manifest, checkpoint.manifest);
}

#[test]
fn a_chunk_that_is_damaged_cut_or_out_of_order_is_refused_and_changes_nothing() {
    let (leader, checkpoint) = sender();
    let env = SimEnv::new(2).env();
    let checkpoints = open(&env, "/data");
    let mut incoming = Incoming::begin(checkpoints.clone(), checkpoint.manifest.clone()).unwrap();
    for (number, good) in chunks(&leader, &checkpoint).iter().enumerate() {
        let number = number as u64;
        let mut damaged = good.clone();
        damaged[good.len() / 2] ^= 4;
        for bad in [&damaged[..], &good[..good.len() - 1], &[]] {
            assert!(matches!(incoming.take(number, bad), Err(IncomingError::Corrupt(_))));
        }
        assert!(matches!(incoming.take(number + 1, good), Err(IncomingError::OutOfOrder { .. })));
        incoming.take(number, good).unwrap();
        assert!(matches!(incoming.take(number, good), Err(IncomingError::OutOfOrder { .. })));
    }
    incoming.finish().ok().unwrap().verify(&env).unwrap();
}

// Damage after a chunk was checked and written: the last reading back finds it, and nothing is kept.
#[test]
fn what_does_not_read_back_is_not_kept() {
    let (leader, checkpoint) = sender();
    let sim = SimEnv::new(2);
    let checkpoints = open(&sim.env(), "/data");
    let mut incoming = Incoming::begin(checkpoints.clone(), checkpoint.manifest.clone()).unwrap();
    for (number, bytes) in chunks(&leader, &checkpoint).iter().enumerate() {
        incoming.take(number as u64, bytes).unwrap();
    }
    sim.disk.flip_bit(Path::new("/data/checkpoints/00000000000000000050.incoming/state/b.sst"), 1000, 3);
    assert!(matches!(incoming.finish(), Err((None, IncomingError::Disk(CheckpointError::Damaged { .. })))));
    assert!(checkpoints.newest().is_none() && open(&sim.env(), "/data").newest().is_none());
}

#[test]
fn a_power_loss_at_any_write_leaves_the_whole_checkpoint_or_nothing() {
    let (leader, checkpoint) = sender();
    let chunks = chunks(&leader, &checkpoint);
    for step in 0.. {
        let disk = Arc::new(SimDisk::new());
        let env = || Env { disk: disk.clone(), ..SimEnv::new(2).env() };
        let checkpoints = open(&env(), "/data");
        disk.power_off_after(step);
        let receive = || -> Result<(), IncomingError> {
            let mut incoming = Incoming::begin(checkpoints.clone(), checkpoint.manifest.clone())?;
            for (number, bytes) in chunks.iter().enumerate() {
                incoming.take(number as u64, bytes)?;
            }
            incoming.finish().map(|_| ()).map_err(|(_, error)| error)
        };
        let received = receive().is_ok();
        disk.crash(Crash::Torn { seed: step });
        let found = open(&env(), "/data").newest();
        if let Some(found) = &found {
            assert_eq!(found.manifest, checkpoint.manifest, "step {step}");
            found.verify(&env()).unwrap();
        }
        if received {
            assert!(found.is_some() && step > 20, "what was answered is durable");
            return;
        }
    }
}

// The node applies up to exactly the entry of a checkpoint that is on its way, and makes one of its own there. A chunk that
// went into that folder would go through a hard link into the living state.
#[test]
fn a_checkpoint_that_comes_in_never_touches_one_that_is_made_at_the_same_entry() {
    let (leader, checkpoint) = sender();
    let env = SimEnv::new(2).env();
    let checkpoints = open(&env, "/data");
    let chunks = chunks(&leader, &checkpoint);
    let mut incoming = Incoming::begin(checkpoints.clone(), checkpoint.manifest.clone()).unwrap();
    incoming.take(0, &chunks[0]).unwrap();
    let state = checkpoints.begin(LogIndex(50)).unwrap();
    let own = env.disk.open(&state.join("a.sst"), OpenMode::CreateNew).unwrap();
    own.write_all_at(&[9; 3 * CHUNK_BYTES], 0).unwrap();
    for (number, bytes) in chunks.iter().enumerate().skip(1) {
        incoming.take(number as u64, bytes).unwrap();
    }
    let mut content = vec![0; 3 * CHUNK_BYTES];
    own.read_exact_at(&mut content, 0).unwrap();
    assert!(content.iter().all(|byte| *byte == 9), "the node's own file is as it wrote it");

    // While the own one is made the other waits; then the own one stands for both.
    let Err((Some(incoming), IncomingError::Disk(CheckpointError::Taken(_)))) = incoming.finish() else {
        panic!("it waits")
    };
    let sealed = checkpoints.seal(checkpoint.manifest.point.clone()).unwrap();
    let kept = incoming.finish().ok().unwrap();
    assert_eq!(kept.manifest, sealed.manifest);
    assert_eq!(env.disk.list_dirs(Path::new("/data/checkpoints")).unwrap().len(), 1, "nothing is left over");
    kept.verify(&env).unwrap();
    assert!(matches!(checkpoints.begin(LogIndex(50)), Err(CheckpointError::Taken(_))));
}

#[test]
fn what_nobody_sends_any_more_goes_at_once_and_what_a_crash_left_at_the_next_opening() {
    let (leader, checkpoint) = sender();
    let env = SimEnv::new(2).env();
    let checkpoints = open(&env, "/data");
    let begun = || {
        let mut incoming = Incoming::begin(checkpoints.clone(), checkpoint.manifest.clone()).unwrap();
        incoming.take(0, &chunks(&leader, &checkpoint)[0]).unwrap();
        incoming
    };
    let folders = || env.disk.list_dirs(Path::new("/data/checkpoints")).unwrap().len();
    begun().discard();
    assert_eq!(folders(), 0);
    drop(begun());
    assert_eq!(folders(), 1);
    assert!(open(&env, "/data").newest().is_none());
    assert_eq!(folders(), 0);
}

#[test]
fn a_checkpoint_that_would_take_the_logs_reserve_is_not_taken_in() {
    let (leader, checkpoint) = sender();
    let sim = SimEnv::new(2);
    let checkpoints = open(&sim.env(), "/data");
    let begin = || Incoming::begin(checkpoints.clone(), checkpoint.manifest.clone());
    let wanted = checkpoint.manifest.bytes() + RESERVE_BYTES_DEFAULT;
    sim.disk.set_capacity_bytes(Some(wanted - 1));
    assert!(matches!(begin(), Err(IncomingError::NoRoom { .. })));
    sim.disk.set_capacity_bytes(Some(wanted));
    let mut incoming = begin().unwrap();
    let chunks = chunks(&leader, &checkpoint);
    incoming.take(0, &chunks[0]).unwrap();
    // Somebody else fills the disk meanwhile; when there is room again the transfer goes on where it was.
    sim.disk.set_capacity_bytes(Some(wanted - checkpoint.manifest.bytes()));
    assert!(matches!(incoming.take(1, &chunks[1]), Err(IncomingError::NoRoom { .. })));
    sim.disk.set_capacity_bytes(None);
    incoming.take(1, &chunks[1]).unwrap();
}
