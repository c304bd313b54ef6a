use super::*;
use crate::env::{Clock as _, Disk as _, File, OpenMode, Rng as _};
use std::io;
use std::path::Path;
use std::time::Duration;

const FILE: &str = "/d/f";

fn disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/d")).unwrap();
    disk
}

fn synced_file(disk: &SimDisk, content: &[u8]) -> Arc<dyn File> {
    let file = disk.open(Path::new(FILE), OpenMode::CreateNew).unwrap();
    file.write_all_at(content, 0).unwrap();
    file.sync_all().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    file
}

#[test]
fn a_crash_loses_unsynced_bytes_and_names() {
    let disk = disk();
    let file = synced_file(&disk, b"durable");
    file.write_all_at(b"lost", 0).unwrap();
    disk.open(Path::new("/d/unsynced"), OpenMode::CreateNew).unwrap().sync_all().unwrap();
    disk.rename(Path::new(FILE), Path::new("/d/renamed")).unwrap();
    assert_eq!(disk.content(Path::new("/d/renamed")), b"lostble");
    disk.crash(Crash::LoseUnsynced);
    assert_eq!(disk.list(Path::new("/d")).unwrap(), ["f"]);
    assert_eq!(disk.content(Path::new(FILE)), b"durable");
    assert!(file.write_all_at(b"x", 0).is_err(), "handles die with the power");
}

#[test]
fn a_torn_crash_may_keep_later_sectors_without_earlier_ones() {
    let outcome = |seed| {
        let disk = disk();
        let file = synced_file(&disk, &[0; 4_096]);
        file.write_all_at(&[1; 4_096], 0).unwrap();
        disk.crash(Crash::Torn { seed });
        let content = disk.content(Path::new(FILE));
        content.chunks(512).map(|sector| sector[0]).collect::<Vec<u8>>()
    };
    assert_eq!(outcome(1), outcome(1), "a seed decides");
    let later_without_earlier = |sectors: &[u8]| sectors.windows(2).any(|pair| pair == [0, 1]);
    assert!((0..20).any(|seed| later_without_earlier(&outcome(seed))));
}

#[test]
fn a_failed_sync_loses_its_writes_though_the_next_one_succeeds() {
    let disk = disk();
    let file = synced_file(&disk, b"durable");
    disk.order(Fault::once(FaultKind::Sync, "f"));
    file.write_all_at(b"lost", 0).unwrap();
    assert!(file.sync_data().is_err());
    assert_eq!(disk.fault_hits(), 1);
    file.sync_data().unwrap();
    assert_eq!(disk.content(Path::new(FILE)), b"lostble");
    disk.crash(Crash::LoseUnsynced);
    assert_eq!(disk.content(Path::new(FILE)), b"durable");
}

#[test]
fn a_lost_block_stays_unreadable_until_all_of_it_is_written() {
    let disk = disk();
    let file = synced_file(&disk, &[7; 12_288]);
    disk.lose_blocks(Path::new(FILE), 5_000, 1);
    let unreadable = |file: &Arc<dyn File>, offset, bytes| {
        let read = file.read_exact_at(&mut vec![0; bytes], offset);
        read.err().is_some_and(|error| crate::env::is_media_error(&error))
    };
    assert!(unreadable(&file, 4_096, 1) && unreadable(&file, 0, 12_288) && unreadable(&file, 8_191, 2));
    assert!(!unreadable(&file, 0, 4_096) && !unreadable(&file, 8_192, 4_096));
    assert!(file.write_all_at(&[1; 4_096], 5_000).is_err(), "the rest of the block would have to be read");
    disk.crash(Crash::LoseUnsynced);
    let file = disk.open(Path::new(FILE), OpenMode::ReadWrite).unwrap();
    assert!(unreadable(&file, 5_000, 1), "the device is no better for a restart");
    file.write_all_at(&[1; 4_200], 4_000).unwrap();
    assert!(!unreadable(&file, 0, 12_288));
    assert_eq!(disk.lost_blocks(Path::new(FILE)), 0);
    assert_eq!(disk.unreadable_reads(), 4);
}

#[test]
fn the_power_goes_off_at_the_ordered_change() {
    let disk = disk();
    let file = synced_file(&disk, b"durable");
    disk.power_off_after(1);
    file.write_all_at(b"a", 0).unwrap();
    assert!(file.sync_data().is_err());
    assert!(file.read_exact_at(&mut [0], 0).is_err());
    disk.crash(Crash::LoseUnsynced);
    assert_eq!(disk.content(Path::new(FILE)), b"durable");
}

#[test]
fn a_full_disk_refuses_growth_but_not_overwriting() {
    let disk = disk();
    let file = synced_file(&disk, &[0; 100]);
    disk.set_capacity_bytes(Some(150));
    file.write_all_at(&[1; 100], 0).unwrap();
    assert_eq!(file.allocate(200).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.write_all_at(&[1; 100], 100).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.free_bytes(Path::new("/d")).unwrap(), 50);
}

#[test]
fn a_lock_ends_with_its_holder_or_with_the_power() {
    let disk = disk();
    let path = Path::new("/d/LOCK");
    let held = disk.lock(path).unwrap();
    assert_eq!(disk.lock(path).err().unwrap().kind(), io::ErrorKind::WouldBlock);
    disk.crash(Crash::LoseUnsynced);
    let again = disk.lock(path).unwrap();
    drop(held);
    assert!(disk.lock(path).is_err(), "an old holder does not unlock the new one's");
    drop(again);
    disk.lock(path).unwrap();
}

#[test]
fn clock_and_randomness_are_decided_by_the_test() {
    let sim = SimEnv::new(7);
    let before = (sim.clock.unix_millis(), sim.clock.monotonic());
    sim.clock.advance(Duration::from_secs(2));
    assert_eq!(sim.clock.unix_millis().0 - before.0.0, 2_000);
    assert_eq!(sim.clock.monotonic() - before.1, Duration::from_secs(2));
    let draw = |seed| (0..4).map(|_| SeededRng::new(seed).next_u64()).collect::<Vec<_>>();
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}

#[test]
fn a_session_ends_with_the_process() {
    let disk = Arc::new(disk());
    synced_file(&disk, b"durable");
    let session = disk.session();
    session.open(Path::new(FILE), OpenMode::Read).unwrap();
    disk.crash(Crash::KeepAll);
    assert!(session.remove(Path::new(FILE)).is_err());
    disk.session().open(Path::new(FILE), OpenMode::Read).unwrap();
}

#[test]
fn a_new_boot_is_told_from_a_new_process() {
    let disk = Arc::new(disk());
    let boot = || disk.session().boot_id().unwrap();
    let first = boot();
    disk.crash(Crash::KeepAll);
    assert_eq!(boot(), first, "only the process died");
    disk.crash(Crash::LoseUnsynced);
    assert_ne!(boot(), first);
    assert_ne!(boot(), 0, "0 says that nobody knows");
}

#[test]
fn a_failed_write_back_is_told_once_to_each_open_handle_whoever_wrote() {
    let disk = disk();
    let writer = synced_file(&disk, b"durable");
    let other = writer.reopen().unwrap();
    writer.write_all_at(b"lost", 0).unwrap();
    disk.fail_write_back(Path::new(FILE), io::ErrorKind::StorageFull);
    let late = disk.open(Path::new(FILE), OpenMode::ReadWrite).unwrap();
    for handle in [&other, &writer, &late] {
        assert_eq!(handle.sync_data().unwrap_err().kind(), io::ErrorKind::StorageFull, "nobody takes another's error");
        handle.sync_data().unwrap();
    }
    disk.open(Path::new(FILE), OpenMode::ReadWrite).unwrap().sync_data().unwrap();
    disk.crash(Crash::LoseUnsynced);
    assert_eq!(disk.content(Path::new(FILE)), b"durable");
}
