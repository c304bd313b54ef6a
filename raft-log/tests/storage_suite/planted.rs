//! What seeds of the simulation hardly ever reach is reached here: each rule is undone, and its test must fail.

use crate::{faults, page_cache, reads, recycling, sidecars};
use raft_log::planted::{Bug, plant};
use std::panic::catch_unwind;

#[test]
fn each_rule_that_is_undone_is_missed_by_its_test() {
    let tests: [(Bug, fn()); 9] = [
        (Bug::EraseTakenForDone, page_cache::what_a_failed_erasure_left_on_disk_never_comes_back),
        (Bug::SlotsTakenForDisk, page_cache::a_slot_that_was_not_synced_is_no_second_copy_of_a_vote),
        (Bug::StaleIndexBound, recycling::damage_far_behind_the_last_saved_index_is_still_told),
        (Bug::ReadAcrossTruncation, reads::a_read_gives_one_log_though_it_is_cut_meanwhile),
        (Bug::IndexKept, sidecars::an_index_never_outlives_a_truncation_of_its_segment),
        (Bug::CorruptMiddleCut, recycling::a_torn_tail_of_a_recycled_segment_is_cut_and_damage_below_the_mark_is_told),
        (Bug::RecycledMisread, recycling::what_an_earlier_life_left_is_not_read_and_is_no_torn_tail),
        (Bug::SwallowedFsyncError, faults::a_failed_sync_is_final_though_the_next_one_would_succeed),
        (Bug::CacheTakenForDisk, faults::what_a_failed_sync_left_in_the_page_cache_is_written_again),
    ];
    let not_missed: Vec<Bug> =
        tests.into_iter().filter(|(bug, test)| passes_with(*bug, *test)).map(|(bug, _)| bug).collect();
    assert_eq!(not_missed, [], "nobody notices");
}

fn passes_with(bug: Bug, test: fn()) -> bool {
    test();
    plant(Some(bug));
    let passed = catch_unwind(test).is_ok();
    plant(None);
    passed
}
