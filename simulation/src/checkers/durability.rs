//! What a node called persisted is there when it opens again, its entries and its vote; what it called removed is not.

use raft_log::sim::observe::{Deed, Event};

use crate::checkers::Checker;
use crate::view::View;

pub(super) struct Durability;

impl Checker for Durability {
    fn name(&self) -> &'static str {
        "durability"
    }

    fn check(&mut self, view: &View, event: &Event) -> Result<(), String> {
        let Deed::Opened { purged, entries, end, in_doubt, vote } = &event.deed else { return Ok(()) };
        let Some(node) = view.node(event.node) else { return Ok(()) };
        let before = node.before.as_deref().filter(|before| before.purged == *purged).unwrap_or(node);
        if *purged < before.purged {
            return Err(format!("its log was purged to {:?} and now to {purged:?}", before.purged));
        }
        let first = purged.map_or(0, |purged| purged.index.0 + 1);
        for (index, entry) in before.log.range(first.min(before.persisted_end)..before.persisted_end) {
            let found = index.checked_sub(first).and_then(|at| entries.get(usize::try_from(at).ok()?));
            // One that may have forgotten its tail keeps out of elections.
            let unreadable = found.is_none() && (*index < end.0 || *in_doubt);
            if *index >= first && found != Some(entry) && !unreadable {
                return Err(format!("it had persisted {entry:?} and opened with {found:?}"));
            }
        }
        if before.cutting == 0 && end.0 > before.end().max(first) {
            return Err(format!("its log ended before {} and came back with entries up to {end}", before.end()));
        }
        let term = |vote: &Option<raft_log::storage::HardState>| vote.map(|vote| (vote.term, vote.voted_for));
        if vote.map(|vote| vote.term) < before.vote.map(|vote| vote.term) {
            return Err(format!("it had saved {:?} and opened with {vote:?}", before.vote));
        }
        let same_term = vote.map(|vote| vote.term) == before.vote.map(|vote| vote.term);
        if same_term && term(vote) != term(&before.vote) && !vote.is_some_and(|vote| vote.committed) {
            return Err(format!("it had voted {:?} and opened with {vote:?}", before.vote));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use raft_log::types::LogIndex;

    use super::*;
    use crate::checkers::rig::{appended, by, entry, id, opened, persisted, tells_apart, vote, voted};

    fn two_entries() -> Vec<Event> {
        vec![appended(1, &[entry(1, 0), entry(1, 1)]), persisted(1, 1, 0)]
    }

    fn reopened(with: &[u64]) -> Vec<Event> {
        let entries: Vec<_> = with.iter().map(|index| entry(1, *index)).collect();
        [two_entries(), vec![opened(1, &entries, None)]].concat()
    }

    #[test]
    fn what_was_called_persisted_is_there_again() {
        tells_apart(|| Durability, &reopened(&[0]), &reopened(&[]));
        tells_apart(|| Durability, &reopened(&[0, 1]), &reopened(&[]));
    }

    #[test]
    fn a_node_may_forget_the_end_of_its_log_if_it_knows() {
        let again = |in_doubt| {
            let found = Deed::Opened { purged: None, entries: vec![], end: LogIndex(0), in_doubt, vote: None };
            [two_entries(), vec![by(1, found)]].concat()
        };
        tells_apart(|| Durability, &again(true), &again(false));
    }

    #[test]
    fn nothing_comes_back_that_was_never_appended() {
        tells_apart(|| Durability, &reopened(&[0, 1]), &reopened(&[0, 1, 2]));
    }

    #[test]
    fn what_was_called_removed_stays_removed() {
        let cut = |told: bool| {
            let mut events = two_entries();
            events.push(by(1, Deed::Truncated(LogIndex(1))));
            events.extend(told.then(|| by(1, Deed::Cut)));
            events.push(opened(1, &[entry(1, 0), entry(1, 1)], None));
            events
        };
        tells_apart(|| Durability, &cut(false), &cut(true));
    }

    #[test]
    fn a_log_begun_anew_may_go_back_until_its_checkpoint_is_restored() {
        let begun = |restored: bool| {
            let mut events = two_entries();
            events.push(by(1, Deed::Began(id(1, 5))));
            events.extend(restored.then(|| by(1, Deed::Restored(id(1, 5)))));
            events.push(opened(1, &[entry(1, 0), entry(1, 1)], None));
            events
        };
        tells_apart(|| Durability, &begun(false), &begun(true));
    }

    #[test]
    fn a_saved_vote_is_there_again() {
        let again = |term, candidate| vec![voted(1, 2, 1, false), opened(1, &[], Some(vote(term, candidate, false)))];
        tells_apart(|| Durability, &again(2, 1), &again(1, 1));
        tells_apart(|| Durability, &again(3, 2), &again(2, 2));
    }
}
