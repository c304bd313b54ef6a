//! What a call of `apply` writes: one batch for the store, chained into the digest as it is made (hazards 18).

use rocksdb::WriteBatch;

use super::digest::Digest;
use super::level::{self, Level};

/// Keys of a range that are deleted one by one. More go as a range, which costs the same however many there are, but makes every read
/// slower until it is flushed (see [`Changes::delete_range`]).
pub(crate) const ONE_BY_ONE_MAX: usize = if cfg!(test) { 4 } else { 128 };
/// Keys that one command deletes so: one that settles thousands of deliveries may pass as many ranges.
const ONE_BY_ONE_OF_COMMAND_MAX: usize = if cfg!(test) { 16 } else { 4096 };

/// The writes of a call so far.
pub(crate) struct Changes {
    batch: WriteBatch,
    digest: Digest,
    ranges: u64,
    /// Keys that the command may still delete one by one.
    one_by_one: usize,
    level: Level,
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Changes {
    pub(crate) fn new(digest: Digest) -> Changes {
        Changes {
            batch: WriteBatch::default(),
            digest,
            ranges: 0,
            one_by_one: ONE_BY_ONE_OF_COMMAND_MAX,
            level: Level::NEWEST,
        }
    }

    /// A command begins: what it writes follows from it and the state, however entries are grouped in calls.
    pub(crate) fn begin_command(&mut self) {
        self.one_by_one = ONE_BY_ONE_OF_COMMAND_MAX;
    }

    /// From now on, records may be of this feature level and none above.
    pub(crate) fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    /// A node that does not know the kind of record would have another state.
    fn check_level(&self, key: &[u8]) {
        let (brought, level) = (level::of_record(key), self.level);
        assert!(brought <= level, "a record of level {brought} is written in a group at level {level}");
    }

    pub(crate) fn put(&mut self, key: impl AsRef<[u8]>, value: &[u8]) {
        self.check_level(key.as_ref());
        self.digest.absorb(key.as_ref());
        self.digest.absorb(value);
        self.batch.put(key, value);
    }

    pub(crate) fn delete(&mut self, key: impl AsRef<[u8]>) {
        self.digest.absorb(key.as_ref());
        self.digest.absorb_number(u64::MAX);
        self.batch.delete(key);
    }

    /// A record that [`Self::put_now`] writes later, if it is still there then.
    pub(crate) fn put_later(&mut self, key: impl AsRef<[u8]>, value: &[u8]) {
        self.check_level(key.as_ref());
        self.digest.absorb(key.as_ref());
        self.digest.absorb(value);
    }

    /// Writes what [`Self::put_later`] announced. When that is differs between nodes.
    pub(crate) fn put_now(&mut self, key: impl AsRef<[u8]>, value: &[u8]) {
        self.batch.put(key, value);
    }

    /// Deletes a record that the store may have been spared.
    pub(crate) fn delete_if(&mut self, key: impl AsRef<[u8]>, stored: bool) {
        self.digest.absorb(key.as_ref());
        self.digest.absorb_number(u64::MAX);
        if stored {
            self.batch.delete(key);
        }
    }

    /// Deletes `keys`, which are all that are there from `from` on and before `until`: one by one while they are few, else as a range.
    /// Of many, only the first [`ONE_BY_ONE_MAX`] and one more are asked for.
    pub(crate) fn delete_keys<K: AsRef<[u8]>>(&mut self, from: K, until: K, keys: impl Iterator<Item = K>) {
        let few = self.one_by_one.min(ONE_BY_ONE_MAX);
        let keys: Vec<K> = keys.take(few + 1).collect();
        if keys.len() > few {
            self.delete_range(from, until);
        } else {
            self.one_by_one -= keys.len();
            keys.into_iter().for_each(|key| self.delete(key));
        }
    }

    /// Deletes all keys from `from` on and before `until`. While it waits for a flush, each read looks at it, so there are
    /// few, and a flush is due after some hundreds (see [`FlushTriggers`](super::FlushTriggers)).
    pub(crate) fn delete_range(&mut self, from: impl AsRef<[u8]>, until: impl AsRef<[u8]>) {
        self.digest.absorb(from.as_ref());
        self.digest.absorb(until.as_ref());
        self.batch.delete_range(from.as_ref(), until.as_ref());
        self.ranges += 1;
    }

    /// How many ranges were deleted.
    pub(crate) fn ranges(&self) -> u64 {
        self.ranges
    }

    pub(crate) fn digest(&mut self) -> &mut Digest {
        &mut self.digest
    }

    /// What was only announced before and is written now.
    pub(crate) fn into_batch(self) -> WriteBatch {
        self.batch
    }

    /// Ends the call with a record that is no part of the digest: it says where the call ended, which differs between
    /// nodes that group entries differently.
    pub(crate) fn finish(mut self, key: &[u8], value: &[u8]) -> WriteBatch {
        self.batch.put(key, value);
        self.batch
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    #[should_panic(expected = "a record of level 1 is written in a group at level 0")]
    fn no_record_is_written_above_the_level_of_the_group() {
        let mut changes = Changes::new(Digest::default());
        changes.set_level(Level::of_a_test(0));
        changes.put("T", b"");
    }

    /// hazards 17: what one node wrote and another did not is found.
    #[test]
    fn every_key_and_value_that_is_written_or_deleted_is_part_of_the_digest() {
        let changes: [fn(&mut Changes); 13] = [
            |_| (),
            |changes| changes.put("T", b"x"),
            |changes| changes.put("Q", b"x"),
            |changes| changes.put("T", b"y"),
            |changes| changes.put("Q", b"T"),
            |changes| changes.delete("T"),
            |changes| changes.delete("Q"),
            |changes| {
                changes.delete("Q");
                changes.delete("T");
            },
            |changes| changes.put_later("R", b"x"),
            |changes| changes.delete_if("R", false),
            |changes| changes.delete_range("T", "Q"),
            |changes| changes.delete_range("T", "R"),
            |changes| changes.delete_range("Q", "R"),
        ];
        let digests = changes.map(|change| {
            let mut changes = Changes::new(Digest::default());
            change(&mut changes);
            changes.digest().0
        });
        assert_eq!(BTreeSet::from(digests).len(), changes.len(), "{digests:?}");
    }

    /// However many ranges a command passes, and however long each is.
    #[test]
    fn one_command_deletes_so_many_keys_one_by_one_and_the_rest_as_ranges() {
        let keys = |count: usize| (0..count).map(|key| key.to_be_bytes());
        let mut changes = Changes::new(Digest::default());
        let delete = |changes: &mut Changes, count: usize| {
            let (from, until) = (0_usize.to_be_bytes(), count.to_be_bytes());
            changes.delete_keys(from, until, keys(count).inspect(|key| assert!(key <= &ONE_BY_ONE_MAX.to_be_bytes())));
            changes.ranges()
        };
        assert_eq!([ONE_BY_ONE_MAX, ONE_BY_ONE_MAX + 1, 1 << 40].map(|count| delete(&mut changes, count)), [0, 1, 2]);
        for _ in ONE_BY_ONE_MAX..ONE_BY_ONE_OF_COMMAND_MAX {
            assert_eq!(delete(&mut changes, 1), 2);
        }
        assert_eq!(delete(&mut changes, 1), 3, "no more of this command");
        changes.begin_command();
        assert_eq!(delete(&mut changes, 1), 3);
    }
}
