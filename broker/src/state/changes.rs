//! What a call of `apply` writes: one batch for the store, chained into the digest as it is made (hazards 18).

use rocksdb::WriteBatch;

use super::digest::Digest;

/// The writes of a call so far.
pub(crate) struct Changes {
    batch: WriteBatch,
    digest: Digest,
    ranges: u64,
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Changes {
    pub(crate) fn new(digest: Digest) -> Changes {
        Changes { batch: WriteBatch::default(), digest, ranges: 0 }
    }

    pub(crate) fn put(&mut self, key: impl AsRef<[u8]>, value: &[u8]) {
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

    /// hazards 17: what one node wrote and another did not is found.
    #[test]
    fn every_key_and_value_that_is_written_or_deleted_is_part_of_the_digest() {
        let changes: [fn(&mut Changes); 13] = [
            |_| (),
            |changes| changes.put("a", b"x"),
            |changes| changes.put("b", b"x"),
            |changes| changes.put("a", b"y"),
            |changes| changes.put("b", b"a"),
            |changes| changes.delete("a"),
            |changes| changes.delete("b"),
            |changes| {
                changes.delete("b");
                changes.delete("a");
            },
            |changes| changes.put_later("c", b"x"),
            |changes| changes.delete_if("c", false),
            |changes| changes.delete_range("a", "b"),
            |changes| changes.delete_range("a", "c"),
            |changes| changes.delete_range("b", "c"),
        ];
        let digests = changes.map(|change| {
            let mut changes = Changes::new(Digest::default());
            change(&mut changes);
            changes.digest().0
        });
        assert_eq!(BTreeSet::from(digests).len(), changes.len(), "{digests:?}");
    }
}
