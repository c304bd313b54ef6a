use std::path::Path;

use bytes::Bytes;
use futures::FutureExt as _;

use super::*;
use crate::env::Env;
use crate::env::sim::{Crash, SimDisk, SimEnv};
use crate::storage::{HardState, RecordKind, StorageOptions};
use crate::types::{GroupId, LogId, NodeId, Term};

const GROUP: GroupId = GroupId(7);
const DIR: &str = "/data";
const SEGMENT_BYTES: u64 = 256 << 10;

fn env(disk: &Arc<SimDisk>) -> Env {
    Env { disk: disk.clone(), ..SimEnv::new(1).env() }
}

fn options() -> StorageOptions {
    StorageOptions {
        // Space is made ready beside the vote, and each step of that counts too.
        segment_bytes_max: SEGMENT_BYTES,
        record_payload_bytes_max: 64 << 10,
        ..StorageOptions::new(DIR, GROUP)
    }
}

fn open(disk: &Arc<SimDisk>) -> (Log, Arc<Identity>) {
    let env = env(disk);
    let (log, _) = Log::open(env.clone(), options()).expect("it opens");
    let empty = log.bounds().last.is_none() && log.hard_state().is_none();
    (log, Arc::new(Identity::open(&env, Path::new(DIR), NodeId(1), GROUP, empty).expect("it is this node's")))
}

fn vote() -> RaftVote {
    let leader_id = openraft::impls::leader_id_std::LeaderId { term: 1, voted_for: NodeId(1) };
    openraft::Vote { leader_id, committed: true }
}

// Hazards 9: found under simulation, where a node that had just joined stopped because its disk was full.
#[tokio::test]
async fn a_first_vote_waits_for_space_wherever_it_lacks() {
    let disk = Arc::new(SimDisk::new());
    let (log, identity) = open(&disk);
    let mut capacity = disk.used_bytes();
    disk.set_capacity_bytes(Some(capacity));
    let mut store = LogStore::new(log.clone(), identity.clone());
    let saving = tokio::spawn(async move { store.save_vote(&vote()).await });
    let mut refused = 0;
    // The vote's file first, then the identity's.
    while !saving.is_finished() {
        tokio::task::yield_now().await;
        if disk.refused_as_full() > refused {
            refused = disk.refused_as_full();
            capacity += 4_000;
            disk.set_capacity_bytes(Some(capacity));
        }
    }
    saving.await.unwrap().unwrap();
    assert!(identity.is_used() && refused > 1, "{refused}");
    log.shutdown();
}

// Hazards 2: what was answered is remembered as use; what was not answered must not shut the folder for ever.
#[tokio::test]
async fn a_power_loss_around_the_first_vote_never_leaves_a_used_folder_without_it() {
    for step in 0.. {
        let disk = Arc::new(SimDisk::new());
        let (log, identity) = open(&disk);
        disk.power_off_after(step);
        let saved = LogStore::new(log.clone(), identity).save_vote(&vote()).await;
        log.shutdown();
        disk.crash(Crash::Torn { seed: step });
        let (log, identity) = open(&disk);
        if identity.is_used() {
            assert!(log.hard_state().is_some(), "step {step}");
        }
        log.shutdown();
        if saved.is_ok() {
            assert!(identity.is_used(), "what was answered is durable");
            return;
        }
    }
}

// Hazards 37: openraft's core calls both, and answers nothing until they return.
#[tokio::test]
async fn a_purge_and_a_truncation_wait_for_no_disk() {
    let env = SimEnv::new(1).env();
    let (log, mut stepper, _) = Log::open_stepped(env.clone(), options()).unwrap();
    let identity = Identity::open(&env, Path::new(DIR), NodeId(1), GROUP, true).unwrap();
    let mut store = LogStore::new(log.clone(), Arc::new(identity));
    let id = |index| LogId { term: Term(1), index: LogIndex(index) };
    let records = (0..10).map(|index| Record::new(id(index), RecordKind::Blank, 0, Bytes::new())).collect();
    let voted = HardState { term: Term(1), voted_for: Some(NodeId(1)), committed: true };
    log.save_hard_state(voted, Box::new(drop)).unwrap();
    log.append(records, Box::new(drop)).unwrap();
    stepper.step();

    let truncated = store.truncate_after(Some(raft_log_id(id(7)))).now_or_never();
    assert!(matches!(truncated, Some(Ok(()))), "{truncated:?}");
    let purged = store.purge(raft_log_id(id(5))).now_or_never();
    assert!(matches!(purged, Some(Ok(()))), "{purged:?}");
    assert_eq!(stepper.step(), 2, "the disk had done neither");
    assert_eq!((log.bounds().purged, log.bounds().last), (Some(id(5)), Some(id(7))));
}
