use std::path::Path;

use super::*;
use crate::env::Env;
use crate::env::sim::{Crash, SimDisk, SimEnv};
use crate::storage::StorageOptions;
use crate::types::{GroupId, NodeId};

const GROUP: GroupId = GroupId(7);
const DIR: &str = "/data";
const SEGMENT_BYTES: u64 = 256 << 10;

fn env(disk: &Arc<SimDisk>) -> Env {
    Env { disk: disk.clone(), ..SimEnv::new(1).env() }
}

fn open(disk: &Arc<SimDisk>) -> (Log, Arc<Identity>) {
    let env = env(disk);
    let mut options = StorageOptions::new(DIR, GROUP);
    // Space is made ready beside the vote, and each step of that counts too.
    options.segment_bytes_max = SEGMENT_BYTES;
    options.record_payload_bytes_max = 64 << 10;
    let (log, _) = Log::open(env.clone(), options).expect("it opens");
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
