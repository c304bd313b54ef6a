//! Replicas answer alike and have the same rolling digest at the same entry: those that applied other entries with it, those that
//! crashed and applied it again, and those that got a checkpoint (hazards 17, 18).

use super::Violation;
use crate::simulation::node::AppliedEntry;

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
}
