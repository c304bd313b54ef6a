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
        let Deed::Opened { purged, entries, end, vote } = &event.deed else { return Ok(()) };
        let Some(before) = view.node(event.node) else { return Ok(()) };
        if *purged < before.purged {
            return Err(format!("its log was purged to {:?} and now to {purged:?}", before.purged));
        }
        let first = purged.map_or(0, |purged| purged.index.0 + 1);
        for (index, entry) in before.log.range(first.min(before.persisted_end)..before.persisted_end) {
            let found = index.checked_sub(first).and_then(|at| entries.get(usize::try_from(at).ok()?));
            let unreadable = found.is_none() && *index < end.0;
            if *index >= first && found != Some(entry) && !unreadable {
                return Err(format!("it had persisted {entry:?} and opened with {found:?}"));
            }
        }
        if !before.cutting && end.0 > before.end().max(first) {
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
