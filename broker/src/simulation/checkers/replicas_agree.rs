//! Replicas answer alike and have the same rolling digest at the same entry: those that applied other entries with it, those that
//! crashed and applied it again, and those that got a checkpoint (hazards 17, 18).

use std::collections::BTreeMap;

use super::Violation;
use crate::simulation::node::AppliedEntry;

/// What a store holds, by key.
pub(in crate::simulation) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// What the first replica to apply each entry made of it: a digest of its answer, and its rolling digest.
#[derive(Debug, Default)]
pub(in crate::simulation) struct ReplicasAgree {
    first: Vec<(bytes::Bytes, u64)>,
}

impl ReplicasAgree {
    /// Says whether this is the first replica to apply the entry.
    pub(in crate::simulation) fn check(&mut self, applied: &AppliedEntry) -> Result<bool, Violation> {
        let at = usize::try_from(applied.index).expect("an index of this log");
        let now = (applied.response.clone(), applied.digest);
        match self.first.get(at) {
            None => {
                assert_eq!(at, self.first.len(), "entries are applied in order");
                self.first.push(now);
                Ok(true)
            }
            Some(first) if *first == now => Ok(false),
            Some(first) if first.0 != now.0 => {
                let what = format!("two replicas answer entry {at} by {:?} and {:?}", first.0, now.0);
                Err(Violation::new("replicas agree", what))
            }
            Some(_) => Err(Violation::new("replicas agree", format!("two replicas differ at entry {at}"))),
        }
    }
}

/// Whether replicas that have applied the same and persisted all of it hold the same records. The digest covers what was written;
/// this is what is left of it.
pub(in crate::simulation) fn same_records(all: &[Records]) -> Result<(), Violation> {
    for (at, records) in all.iter().enumerate() {
        let differs = |other: &Records, key: &Vec<u8>| records.get(key) != other.get(key);
        let keys = records.keys().chain(all[0].keys());
        if let Some(key) = keys.into_iter().find(|key| differs(&all[0], key)) {
            let (first, other) = (all[0].get(key), records.get(key));
            let what = format!("replica {at} holds {other:?} at {key:?}, the first one {first:?}");
            return Err(Violation::new("replicas agree", what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_answer_and_another_digest_are_noticed() {
        let applied = |index, response: &'static [u8], digest| AppliedEntry {
            index,
            response: bytes::Bytes::from_static(response),
            digest,
        };
        let mut agree = ReplicasAgree::default();
        assert_eq!(agree.check(&applied(0, b"a", 1)), Ok(true));
        assert_eq!(agree.check(&applied(1, b"b", 2)), Ok(true));
        assert_eq!(agree.check(&applied(0, b"a", 1)), Ok(false));
        assert!(agree.check(&applied(1, b"c", 2)).is_err());
        assert!(agree.check(&applied(1, b"b", 3)).is_err());
    }

    #[test]
    fn a_record_that_is_missing_one_too_many_and_another_one_are_noticed() {
        let of = |pairs: &[(u8, u8)]| pairs.iter().map(|(key, value)| (vec![*key], vec![*value])).collect::<Records>();
        let first = of(&[(1, 1), (2, 2)]);
        assert_eq!(same_records(&[first.clone(), first.clone()]), Ok(()));
        for other in [of(&[(1, 1)]), of(&[(1, 1), (2, 2), (3, 3)]), of(&[(1, 1), (2, 3)])] {
            assert!(same_records(&[first.clone(), first.clone(), other]).is_err());
        }
    }
}
