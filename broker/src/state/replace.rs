//! The store's folder replaced by a checkpoint's files, whole or not at all.
//!
//! ```text
//!   prepare       link the files into <folder>.new, sync                       long; the store is in use meanwhile
//!   put_in_place  <folder> becomes <folder>.old, .new becomes <folder>, sync   short
//!   then          .old goes                                                    long again, whenever
//! ```
//! Whatever a crash leaves, [`settle`] makes one whole folder of it: the new one once it has its name, else the old one.
//! Tables are linked, because nobody ever changes one; the small files, which a store goes on writing, are copied.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Files that never change once they are complete.
const TABLE_EXTENSION: &str = "sst";

fn beside(folder: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(folder.file_name().expect("the state's folder has a name"));
    name.push(end);
    folder.with_file_name(name)
}

/// Puts the files of `checkpoint` beside `folder`; returns where.
pub(crate) fn prepare(folder: &Path, checkpoint: &Path) -> io::Result<PathBuf> {
    let new = beside(folder, ".new");
    remove(&new)?;
    fs::create_dir(&new)?;
    for entry in fs::read_dir(checkpoint)? {
        let from = entry?.path();
        let to = new.join(from.file_name().expect("a file in a folder has a name"));
        let linked = from.extension().is_some_and(|end| end == TABLE_EXTENSION) && fs::hard_link(&from, &to).is_ok();
        if !linked {
            fs::copy(&from, &to)?;
            File::open(&to)?.sync_all()?;
        }
    }
    File::open(&new)?.sync_all()?;
    Ok(new)
}

/// Puts what was prepared in the place of `folder`; no store has either open. Durable when it returns.
pub(crate) fn put_in_place(folder: &Path) -> io::Result<()> {
    let (new, old) = (beside(folder, ".new"), beside(folder, ".old"));
    remove(&old)?;
    // A store that was opened in it meanwhile has made files of its own.
    File::open(&new)?.sync_all()?;
    if folder.exists() {
        fs::rename(folder, &old)?;
    }
    fs::rename(&new, folder)?;
    sync_parent(folder)
}

/// Removes what was replaced.
pub(crate) fn remove_replaced(folder: &Path) -> io::Result<()> {
    remove(&beside(folder, ".old"))
}

fn remove(folder: &Path) -> io::Result<()> {
    if folder.exists() { fs::remove_dir_all(folder) } else { Ok(()) }
}

/// Makes one whole folder of what an interrupted replacement left; does nothing otherwise.
pub(crate) fn settle(folder: &Path) -> io::Result<()> {
    let (new, old) = (beside(folder, ".new"), beside(folder, ".old"));
    if !folder.exists() && old.exists() {
        fs::rename(&old, folder)?;
        sync_parent(folder)?;
    }
    remove(&new)?;
    remove(&old)
}

fn sync_parent(folder: &Path) -> io::Result<()> {
    match folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(parent: &Path, name: &str, content: &str) -> PathBuf {
        let folder = parent.join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("000001.sst"), content).unwrap();
        fs::write(folder.join("CURRENT"), content).unwrap();
        folder
    }

    fn content(folder: &Path) -> [String; 2] {
        ["000001.sst", "CURRENT"].map(|name| fs::read_to_string(folder.join(name)).unwrap())
    }

    #[test]
    fn the_checkpoint_stays_as_it_is_when_the_replaced_folder_changes() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = folder_with(dir.path(), "checkpoint", "c");
        let folder = folder_with(dir.path(), "state", "s");
        prepare(&folder, &checkpoint).unwrap();
        assert_eq!(content(&folder), ["s", "s"], "not before it is put in place");
        put_in_place(&folder).unwrap();
        assert_eq!(content(&folder), ["c", "c"]);
        fs::write(folder.join("CURRENT"), "changed").unwrap();
        assert_eq!(content(&checkpoint), ["c", "c"]);
        assert!(!beside(&folder, ".new").exists() && beside(&folder, ".old").exists());
        remove_replaced(&folder).unwrap();
        assert!(!beside(&folder, ".old").exists());
    }

    #[test]
    fn every_interrupted_replacement_leaves_one_whole_folder() {
        type Step = fn(&Path);
        let linking: Step = |dir| drop(fs::create_dir(dir.join("state.new")));
        let between: Step = |dir| {
            folder_with(dir, "state.new", "new");
            fs::rename(dir.join("state"), dir.join("state.old")).unwrap();
        };
        let named: Step = |dir| {
            fs::rename(dir.join("state"), dir.join("state.old")).unwrap();
            folder_with(dir, "state", "new");
        };
        for (step, expected) in [(linking, "old"), (between, "old"), (named, "new")] {
            let dir = tempfile::tempdir().unwrap();
            let folder = folder_with(dir.path(), "state", "old");
            step(dir.path());
            settle(&folder).unwrap();
            assert_eq!(content(&folder), [expected, expected]);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }
}
