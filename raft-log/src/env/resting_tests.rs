use super::*;
use crate::env::Env;

struct Rig {
    dir: tempfile::TempDir,
    disk: RestingDisk,
}

impl Rig {
    fn new(open_max: usize) -> Rig {
        Rig { dir: tempfile::tempdir().unwrap(), disk: RestingDisk::new(Env::real().disk, open_max) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn create(&self, name: &str) -> Arc<dyn File> {
        let file = self.disk.open(&self.path(name), OpenMode::CreateNew).unwrap();
        file.write_all_at(name.as_bytes(), 0).unwrap();
        file
    }

    fn synced(&self, name: &str) -> Arc<dyn File> {
        let file = self.create(name);
        file.sync_data().unwrap();
        file
    }

    fn open(&self) -> usize {
        self.disk.0.files().open
    }
}

fn content(file: &Arc<dyn File>) -> String {
    let mut bytes = vec![0; usize::try_from(file.byte_len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn far_more_files_are_held_than_are_open_and_all_of_them_are_read_and_written() {
    let rig = Rig::new(3);
    let files: Vec<_> = (0..100).map(|number| rig.synced(&format!("{number:03}"))).collect();
    assert_eq!(rig.open(), 3);
    for (number, file) in files.iter().enumerate() {
        assert_eq!(content(file), format!("{number:03}"));
        file.write_all_at(b"more", 3).unwrap();
        file.sync_all().unwrap();
    }
    assert_eq!((rig.open(), content(&files[7]).as_str()), (3, "007more"));
    drop(files);
    assert_eq!(rig.open(), 0);
}

#[test]
fn what_no_sync_has_confirmed_stays_open() {
    let rig = Rig::new(2);
    let unsynced: Vec<_> = ["a", "b", "c"].iter().map(|name| rig.create(name)).collect();
    assert_eq!(rig.open(), 3, "the bound is exceeded rather than one of them closed");
    unsynced[0].sync_data().unwrap();
    let other = rig.synced("d");
    assert_eq!(rig.open(), 3, "one of the four rests");
    for (file, name) in unsynced.iter().zip(["a", "b", "c"]) {
        assert_eq!(content(file), name);
    }
    assert_eq!(content(&other), "d");
}

#[test]
fn a_file_that_rests_is_found_by_its_new_name() {
    let rig = Rig::new(1);
    let file = rig.synced("a");
    let _other = rig.synced("b");
    rig.disk.rename(&rig.path("a"), &rig.path("c")).unwrap();
    assert_eq!(content(&file), "a");
    rig.disk.create_dir_all(&rig.path("folder")).unwrap();
    let inside = rig.synced("folder/x");
    assert_eq!(content(&file), "a");
    rig.disk.rename_dir(&rig.path("folder"), &rig.path("moved")).unwrap();
    assert_eq!((content(&inside).as_str(), rig.open()), ("folder/x", 1));
}

#[test]
fn a_file_without_a_name_lives_on_for_whoever_holds_it() {
    let rig = Rig::new(1);
    let (removed, replaced) = (rig.synced("removed"), rig.synced("replaced"));
    let new = rig.synced("new");
    rig.disk.remove(&rig.path("removed")).unwrap();
    rig.disk.rename(&rig.path("new"), &rig.path("replaced")).unwrap();
    let again = rig.synced("removed");
    for _ in 0..2 {
        assert_eq!(content(&removed), "removed");
        assert_eq!(content(&replaced), "replaced");
        assert_eq!(content(&new), "new");
        assert_eq!(content(&again), "removed");
    }
    drop((removed, replaced));
    assert_eq!(rig.open(), 1);
}

#[test]
fn many_threads_use_more_files_than_may_be_open() {
    let rig = Rig::new(2);
    let files: Vec<_> = (0..8).map(|number| rig.synced(&format!("{number}"))).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let files = &files;
            scope.spawn(move || {
                for turn in 0..500 {
                    let number = (turn * (thread + 1)) % files.len();
                    assert!(content(&files[number]).starts_with(&number.to_string()));
                    files[number].write_all_at(b"x", 1 + thread as u64).unwrap();
                    files[number].sync_data().unwrap();
                }
            });
        }
    });
    drop(rig.synced("last"));
    // Those that were busy when another was opened are still open; the next one that is opened lets them rest.
    assert!(rig.open() <= 2, "{}", rig.open());
}
