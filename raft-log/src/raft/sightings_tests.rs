//! The judgement over a folder's past, and what is remembered of it.

use super::*;
use crate::env::sim::{Crash, SimEnv};
use crate::openings::Openings;

const DIR: &str = "/data";
const NODE: NodeId = NodeId(2);
const FOLDER: Incarnation = Incarnation(9);

fn machine(seed: u64) -> SimEnv {
    let machine = SimEnv::new(seed);
    machine.env().disk.create_dir_all(Path::new(DIR)).unwrap();
    machine
}

fn sightings(machine: &SimEnv) -> Arc<Sightings> {
    Arc::new(Sightings::open(&machine.env(), Path::new(DIR)).unwrap())
}

/// Whether the folder is found to be an older copy of itself, by this past that it was just asked for.
fn is_older_copy(judge: &Sightings, folder: Incarnation, past: &Past) -> bool {
    judge.judge(NODE, folder, past, judge.now()) == Judgement::OlderCopy
}

/// The past of a folder that is opened once more, with entries before this index.
fn opened(folder: &SimEnv, end: u64) -> Past {
    let lineage = Openings::begin(&folder.env(), Path::new(DIR)).unwrap().lineage();
    Past { lineage, opened_end: Some(end), ..Past::default() }
}

#[tokio::test]
async fn restarts_are_no_older_copies_whatever_was_missed() {
    let (judge, folder) = (machine(1), machine(2));
    for _ in 0..3 {
        let seen = sightings(&judge);
        assert!(!is_older_copy(&seen, FOLDER, &opened(&folder, 7)));
        seen.note_held(NODE, 7);
        seen.save().await;
        judge.disk.crash(Crash::LoseUnsynced);
        opened(&folder, 7);
    }
}

// Hazards 34: the copy is told by an opening that it knows nothing of, whatever number its own has, and for ever.
#[tokio::test]
async fn a_copy_from_before_an_opening_that_was_seen_is_told_across_restarts() {
    let (judge, folder) = (machine(1), machine(2));
    opened(&folder, 0);
    let copy = SimEnv { disk: Arc::new(folder.disk.fork()), ..SimEnv::new(3) };
    let seen = sightings(&judge);
    assert!(!is_older_copy(&seen, FOLDER, &opened(&folder, 0)));
    seen.save().await;
    judge.disk.crash(Crash::LoseUnsynced);

    opened(&copy, 0);
    let seen = sightings(&judge);
    assert!(is_older_copy(&seen, FOLDER, &opened(&copy, 99)));
    seen.save().await;
    judge.disk.crash(Crash::LoseUnsynced);
    assert!(is_older_copy(&sightings(&judge), FOLDER, &opened(&folder, 99)), "nor is it believed later");
    assert!(!is_older_copy(&sightings(&judge), Incarnation(10), &opened(&machine(4), 0)), "a new folder");
}

// Hazards 34: a copy that was taken while the node ran follows what was seen; its log ends too early.
#[test]
fn a_new_opening_with_less_than_was_confirmed_is_an_older_copy() {
    let (judge, folder) = (machine(1), machine(2));
    let seen = sightings(&judge);
    let first = opened(&folder, 0);
    assert!(!is_older_copy(&seen, FOLDER, &first));
    seen.note_held(NODE, 20);
    assert!(!is_older_copy(&seen, FOLDER, &first), "it confirmed them since it was opened");
    let repairing = Past { opened_end: None, ..opened(&folder, 0) };
    assert!(!is_older_copy(&seen, FOLDER, &repairing), "its log is not open yet");
    assert!(!is_older_copy(&seen, FOLDER, &opened(&folder, 20)));
    assert!(is_older_copy(&seen, FOLDER, &opened(&folder, 19)));
    assert_eq!(seen.older_copies(), [NODE]);
}

// Hazards 10: the loss of an `async` node is legal, and known to it.
#[test]
fn a_node_that_may_have_forgotten_is_no_older_copy_and_counts_for_what_it_has() {
    let (judge, folder) = (machine(1), machine(2));
    let seen = sightings(&judge);
    assert!(!is_older_copy(&seen, FOLDER, &opened(&folder, 0)));
    seen.note_held(NODE, 20);
    let doubting = Past { may_forget: true, ..opened(&folder, 5) };
    assert!(!is_older_copy(&seen, FOLDER, &doubting));
    assert!(!is_older_copy(&seen, FOLDER, &opened(&folder, 5)), "it lost nothing more");
}

#[test]
fn what_another_member_found_is_believed() {
    let (judge, folder) = (machine(1), machine(2));
    let seen = sightings(&judge);
    let told = Past { older_copy: true, ..opened(&folder, 0) };
    assert!(is_older_copy(&seen, FOLDER, &told));
    assert!(seen.is_known_older_copy(NODE));
}

// Found under simulation: the introduction of a run that had lost its power came behind that of the next run, and the node
// lost its vote for good.
#[test]
fn what_an_earlier_run_said_before_the_next_was_seen_proves_nothing() {
    let (judge, folder) = (machine(1), machine(2));
    let seen = sightings(&judge);
    let [first, second, third] = [(); 3].map(|()| opened(&folder, 0));
    assert!(!is_older_copy(&seen, FOLDER, &first));
    let asked = seen.now();
    assert!(!is_older_copy(&seen, FOLDER, &third));
    assert_eq!(seen.judge(NODE, FOLDER, &second, asked), Judgement::Late);
    assert!(!is_older_copy(&seen, FOLDER, &third), "nothing follows from it");
    assert!(is_older_copy(&seen, FOLDER, &second), "it was asked again, and is still there");
}
