//! Sectors that the device cannot read, anywhere in the files of one replica (hazards 36): the log and all small files are
//! whole afterwards, from the peers or from what the node holds twice, and the disk can be read again.

use super::rig::Rig;
use crate::env::sim::SeededRng;
use crate::env::{BLOCK_BYTES, Disk as _};
use std::path::Path;

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "seg")
}

#[test]
fn any_one_block_of_any_file_may_be_lost() {
    for segment_bytes_max in [8 << 10, 16 << 10] {
        let rig = Rig::with_segments(segment_bytes_max);
        let newest = rig.files().into_iter().rev().map(|(path, _)| path).find(|path| is_segment(path)).unwrap();
        let (mut cases, mut repaired, mut cut) = (0, 0, 0);
        for (file, bytes) in rig.files() {
            // The state of a checkpoint is the user's; what comes of it is another test's matter.
            if file.parent().is_some_and(|parent| parent.ends_with("state")) {
                continue;
            }
            for block in (0..bytes as u64).step_by(4_096) {
                let disk = rig.stopped.fork();
                disk.lose_blocks(&file, block, 1);
                let survivor = rig.survive(disk).unwrap_or_else(|error| panic!("{}, {block}: {error}", file.display()));
                assert_eq!(survivor.difference(), None, "{}, {block}", file.display());
                assert!(!survivor.cut || file == newest, "only the end of the log is cut: {}, {block}", file.display());
                if is_segment(&file) {
                    assert_eq!(survivor.lost_blocks(&file), 0, "written anew: {}, {block}", file.display());
                }
                cases += 1;
                repaired += survivor.repaired;
                cut += u32::from(survivor.cut);
            }
        }
        assert!(cases > 15 && repaired >= 3 && cut == 1, "{cases} cases, {repaired} repaired, {cut} cut");
    }
}

#[test]
fn many_lost_blocks_of_the_log_are_repaired() {
    let rig = Rig::with_segments(16 << 10);
    let segments: Vec<_> = rig.files().into_iter().filter(|(path, _)| is_segment(path)).collect();
    assert!(segments.len() >= 2, "{segments:?}");
    let rng = SeededRng::new(7);
    let mut repaired = 0;
    for case in 0..100 {
        let disk = rig.stopped.fork();
        for _ in 0..=rng.below(4) {
            // Not in the newest one: what is at its end may be cut.
            let (path, bytes) = &segments[usize::try_from(rng.below(segments.len() as u64 - 1)).unwrap()];
            let first = rng.below(*bytes as u64 / BLOCK_BYTES);
            disk.lose_blocks(path, first * BLOCK_BYTES, (1 + rng.below(2)) * BLOCK_BYTES);
        }
        let survivor = rig.survive(disk).unwrap_or_else(|error| panic!("case {case}: {error}"));
        assert_eq!(survivor.difference(), None, "case {case}");
        repaired += survivor.repaired;
    }
    assert!(repaired > 100, "{repaired}");
}

// Without the saved indexes opening reads every record, and the damage is met before the log is open.
#[test]
fn lost_blocks_that_opening_meets_are_repaired() {
    let rig = Rig::with_segments(16 << 10);
    for (file, bytes) in rig.files().into_iter().filter(|(path, _)| is_segment(path)) {
        for block in (0..bytes as u64).step_by(4_096) {
            let disk = rig.stopped.fork();
            for name in disk.list(&super::rig::dir().join("log")).unwrap() {
                if name.ends_with(".idx") {
                    disk.delete(&super::rig::dir().join("log").join(name));
                }
            }
            disk.lose_blocks(&file, block, 1);
            let survivor = rig.survive(disk).unwrap_or_else(|error| panic!("{}, {block}: {error}", file.display()));
            assert_eq!(survivor.difference(), None, "{}, {block}", file.display());
        }
    }
}
